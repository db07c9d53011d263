"""The collector of faults, and the tally of rows."""

from pathlib import Path

import pytest
from manifest_files import Reader

from orchestrator.manifests import AuthoredRow, Faults, Tally
from orchestrator.manifests.faults import shorten
from schemas.errors import ManifestError
from schemas.rows import Txt2Img


def test_all_faults_are_counted_and_the_first_are_kept_of_every_kind() -> None:
    faults = Faults(keep=30, keep_of_a_kind=10)
    for number in range(1, 1001):
        faults.add(number, "often", field="steps")
    faults.add(2000, "rare")
    faults.add(None, "whole file")
    assert faults.total == 1002
    assert [fault.message for fault in faults.kept] == ["whole file", *["often"] * 10, "rare"]
    assert faults.kinds == {("steps", "often"): 1000, (None, "rare"): 1, (None, "whole file"): 1}


def test_memory_for_faults_is_bounded_when_each_is_of_its_own_kind() -> None:
    faults = Faults(keep=50)
    for number in range(10_000):
        faults.add(number, f"fault {number}")
    assert (len(faults.kept), len(faults.kinds), faults.total) == (50, 50, 10_000)


def test_no_fault_raises_nothing_and_one_raises_with_the_count() -> None:
    faults = Faults()
    faults.raise_if_any()
    faults.add(3, "wrong")
    with pytest.raises(ManifestError, match="1 fault in the manifest; nothing was sent") as caught:
        faults.raise_if_any(hint="mend it")
    assert caught.value.hint == "mend it"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb\x1b[31m\0\u202e", "a\\nb\\x1b[31m\\x00\\u202e"),
        ("日本 🏮", "日本 🏮"),
        ("x" * 80, "x" * 80),
        ("x" * 10_000_000, "x" * 79 + "…"),
        (True, "true"),
        ([1] * 1_000_000, "a list"),
        ({"a": 1}, "an object"),
        (10**100, "1" + "0" * 78 + "…"),
    ],
)
def test_a_value_is_shown_on_one_line_of_80_characters_without_control_characters(value: object, shown: str) -> None:
    assert shorten(value) == shown


def test_the_tally_counts_rows_pipelines_models_and_the_users_columns(manifest: Reader) -> None:
    lines = ['{"prompt":"a","x":1}'] * 3 + ['{"pipeline":"upscale","image":"a.png","model":"m","y":2,"x":3}']
    tally = Tally()
    rows = manifest("a.jsonl", "\n".join(lines)).rows
    assert list(tally.count(rows)) == rows
    assert tally.summary().model_dump() == {
        "rows": 4,
        "pipelines": {"txt2img": 3, "upscale": 1},
        "models": {"tiny": 3, "m": 1},
        "extra_columns": {"x": 4, "y": 1},
    }
    assert tally.summary() == tally.summary()


def test_the_tally_is_bounded_when_every_row_has_its_own_columns() -> None:
    tally = Tally()
    rows = (AuthoredRow(n, n, Txt2Img(prompt="a", model="m", extra={f"x{n}": 1, "all": 2})) for n in range(5000))
    for _ in tally.count(rows):
        pass
    summary = tally.summary()
    assert (summary.rows, summary.extra_columns["all"], len(summary.extra_columns)) == (5000, 5000, 1000)


def test_a_manifest_of_names_without_end_is_a_fault(manifest: Reader, tmp_path: Path) -> None:
    wide = "{" + ",".join(f'"zz{number}":1' for number in range(1500)) + "}"
    assert "1,500 keys; at most 1,000 are accepted" in manifest("a.jsonl", wide).texts[0]
    header = ",".join(f"zz{number}" for number in range(1500))
    assert "1,500 columns; at most 1,000 are accepted" in manifest("a.csv", header + "\n").texts[0]
