"""Failpoints: nothing without the variable, once in a folder with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.failpoints import FOLDER, VARIABLE, failpoint


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def passing(name: str, times: int, asked: str, folder: Path) -> int:
    """The exit status of a process that comes by a point so many times."""
    code = f"from services.failpoints import failpoint\nfor _ in range({times}): failpoint({name!r})"
    environment = os.environ | {VARIABLE: asked, FOLDER: str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=environment, start_new_session=True).returncode


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    failpoint("a")
    assert list(folder.iterdir()) == []


def test_another_point_is_none_of_its_business(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv(VARIABLE, "b=kill")
    failpoint("a")  # or this process would be gone
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("action", ["kill", "group"])
def test_it_kills_once_at_the_time_that_was_asked_for(action: str, folder: Path) -> None:
    asked = f"other=kill, a={action}@3"
    assert passing("a", 2, asked, folder) == 0
    assert passing("a", 3, asked, folder) == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == ["a"], "how a test knows that it fired"
    assert passing("a", 9, asked, folder) == 0


def test_it_can_be_slow(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv(VARIABLE, "slow=sleep:0.05")
    started = time.monotonic()
    failpoint("slow")
    assert time.monotonic() - started >= 0.05


def test_an_unknown_action_is_told(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv(VARIABLE, "odd=dance")
    with pytest.raises(ValueError, match="no action 'dance'"):
        failpoint("odd")
