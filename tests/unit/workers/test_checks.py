"""The worker's part of `promptmill doctor`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.cli.findings import Finding
from services.settings import load_settings
from workers.cli import checks


@pytest.fixture(autouse=True)
def _an_empty_cache(monkeypatch: pytest.MonkeyPatch, no_settings: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(no_settings / "cache"))


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def torch_with(monkeypatch: pytest.MonkeyPatch, *, built_for: str | None, gpus: int, nvidia: bool) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: gpus > 0,
        device_count=lambda: gpus,
        mem_get_info=lambda number: (70 * 2**30, 80 * 2**30),
        get_device_name=lambda number: "A GPU",
    )
    mps = SimpleNamespace(is_available=lambda: False)
    fake: Any = SimpleNamespace(
        cuda=cuda, version=SimpleNamespace(cuda=built_for), backends=SimpleNamespace(mps=mps), __version__="2.9"
    )
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(checks, "_has_nvidia", lambda: nvidia)


@pytest.mark.parametrize(
    ("built_for", "gpus", "nvidia", "level", "part"),
    [
        ("12.8", 2, True, "ok", "1: A GPU, 70.0 of 80.0 GiB free"),
        (None, 0, False, "ok", "no GPU here"),
        ("12.8", 0, False, "ok", "no GPU here"),
        (None, 0, True, "warning", "built for the CPU"),
        ("12.8", 0, True, "warning", "cannot use it"),
    ],
)
def test_what_torch_can_render_on(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, gpus: int, nvidia: bool, level: str, part: str
) -> None:
    torch_with(monkeypatch, built_for=built_for, gpus=gpus, nvidia=nvidia)
    (finding,) = checks.check_device(load_settings())
    assert (finding.level, part in finding.message) == (level, True)
    assert bool(finding.what_to_do) == (level == "warning")


def test_missing_libraries_are_told_with_the_extra_and_nothing_else_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "diffusers" else object())
    (finding,) = checks.check_worker(load_settings())
    assert finding.level == "warning"
    assert finding.message == "not installed: diffusers"
    assert "promptmill[worker]" in finding.what_to_do


def test_models_that_are_here_are_named() -> None:
    found = by_name(checks.check_models(load_settings()))
    assert found["models"].level == "ok"
    here, _, others = found["models"].message.partition(" here; ")
    assert {"tiny", "tiny-2", "tiny-xl"} <= set(here.split(", "))
    assert "promptmill models pull NAME" in others


def test_a_folder_of_the_users_own_that_is_gone_is_told(no_settings: Path) -> None:
    (no_settings / "own.toml").write_text("[mine]\nsource = './gone'\nfamily = 'sd1'\npipelines = ['txt2img']\n")
    found = by_name(checks.check_models(load_settings(models_file=Path("own.toml"))))
    assert found["models"].level == "warning"
    assert "mine" in found["models"].message
