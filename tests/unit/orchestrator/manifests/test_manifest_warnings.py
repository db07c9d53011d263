"""Warnings beside faults: counted and kept by kind, faults where strict, and all of both in a report."""

import csv
import json
from pathlib import Path

import pytest

from orchestrator.manifests import Faults
from orchestrator.manifests.report import open_report
from schemas.errors import LocalDiskError, ManifestError, SettingsError


def test_a_warning_is_no_fault() -> None:
    faults = Faults()
    faults.warn(3, "odd", field="steps", value=1)
    faults.raise_if_any()
    assert (faults.total, faults.warnings.total) == (0, 1)
    assert [str(fault) for fault in faults.warnings.kept] == ["line 3, steps = 1: odd"]


def test_a_warning_is_a_fault_where_strict() -> None:
    faults = Faults(strict=True)
    faults.warn(3, "odd")
    assert (faults.total, faults.warnings.total) == (1, 0)
    with pytest.raises(ManifestError, match="1 fault"):
        faults.raise_if_any()


def test_groups_count_all_of_a_kind_and_hold_the_first_in_the_order_of_lines() -> None:
    faults = Faults(keep_of_a_kind=2)
    for line in (9, 4, 7):
        faults.warn(line, f"{line} tokens too many", field="prompt", kind="too long")
    faults.warn(1, "alone")
    alone, long = faults.warnings.groups()
    assert (alone.kind, alone.count, [fault.line for fault in alone.first]) == ("alone", 1, [1])
    assert (long.field, long.kind, long.count) == ("prompt", "too long", 3)
    assert [fault.line for fault in long.first] == [4, 9]


def test_an_error_carries_the_groups_of_faults_and_of_warnings() -> None:
    faults = Faults()
    faults.add(1, "wrong")
    faults.warn(2, "odd")
    with pytest.raises(ManifestError) as caught:
        faults.raise_if_any()
    assert [group.kind for group in caught.value.groups] == ["wrong"]
    assert [group.kind for group in caught.value.warnings] == ["odd"]


def fill(path: Path) -> None:
    with open_report(path) as sink:
        faults = Faults(keep=2, keep_of_a_kind=1, sink=sink)
        for line in range(1, 501):
            faults.add(line, 'a "quoted", one', field="steps", value=line)
        faults.warn(None, "猫\n", kind="cat")


def test_a_report_of_json_lines_holds_all_in_the_order_they_were_found(tmp_path: Path) -> None:
    fill(tmp_path / "r.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["line"] for line in lines] == [*range(1, 501), None]
    assert lines[1] == {
        "level": "fault",
        "line": 2,
        "field": "steps",
        "value": "2",
        "message": 'a "quoted", one',
        "kind": 'a "quoted", one',
    }
    assert (lines[-1]["level"], lines[-1]["message"], lines[-1]["kind"]) == ("warning", "猫\\n", "cat")


def test_a_report_of_csv_holds_the_same(tmp_path: Path) -> None:
    fill(tmp_path / "r.CSV")
    with (tmp_path / "r.CSV").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 501
    assert rows[499] | {"kind": ""} == {
        "level": "fault",
        "line": "500",
        "field": "steps",
        "value": "500",
        "message": 'a "quoted", one',
        "kind": "",
    }


def test_a_report_of_another_suffix_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.jsonl or \.csv"), open_report(tmp_path / "r.xlsx"):
        pass


def test_a_folder_that_is_not_there_is_told_as_the_disks_error(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError), open_report(tmp_path / "none" / "r.csv"):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_disk_that_is_full_is_told_as_such(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"r.{suffix}").symlink_to("/dev/full")
    with pytest.raises(LocalDiskError, match="full"):
        fill(tmp_path / f"r.{suffix}")


def test_without_a_path_there_is_no_report() -> None:
    with open_report(None) as sink:
        assert sink is None


def test_a_report_is_never_written_over_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("mine")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    for name in ("a.jsonl", "b.jsonl"):
        with (
            pytest.raises(SettingsError, match="is a file that is read here"),
            open_report(tmp_path / name, [tmp_path / "a.jsonl"]),
        ):
            pass
    assert (tmp_path / "a.jsonl").read_text() == "mine"


def test_an_earlier_report_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    fill(tmp_path / "r.csv")
    before = (tmp_path / "r.csv").read_bytes()

    def interrupted() -> None:
        with open_report(tmp_path / "r.csv") as sink:
            Faults(sink=sink).add(1, "half a report")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "r.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
