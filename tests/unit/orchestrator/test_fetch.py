"""Fetch: verified, resumable, named by row id."""

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from finished_job import JOB, MemoryStore, add_job, add_piece, done, failed, planned

import orchestrator.fetch
from orchestrator.fetch import FetchProgress, fetch
from orchestrator.finalize import finalize
from schemas import keys
from schemas.errors import JobConflict, JobNotFound, LocalDiskError, StoreUnavailable
from schemas.planned import PlannedRow


def job(store: MemoryStore, rows: list[PlannedRow], **changes: Any) -> None:
    """All rows done, in parts of two."""
    parts = [rows[start : start + 2] for start in range(0, len(rows), 2)]
    add_job(store, parts)
    for number, part in enumerate(parts):
        add_piece(store, number, [done(store, number, row, **changes) for row in part])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name[0] != "."}


@pytest.mark.parametrize("finalized", [False, True])
def test_images_come_by_row_id_with_a_line_each(tmp_path: Path, finalized: bool) -> None:
    store = MemoryStore()
    rows = [planned(0), planned(1, num_images=2, format="jpeg"), planned(2, id="夜 3", format="webp")]
    job(store, rows)
    if finalized:
        finalize(store, JOB)
    report = fetch(store, JOB, tmp_path)
    names = {"row-0.png", "row-1-0.jpg", "row-1-1.jpg", "夜 3.webp"}
    assert visible(tmp_path) == names | {"metadata.jsonl"}
    assert (tmp_path / "row-1-1.jpg").read_bytes() == b"image row-1 1 b"
    found = lines(tmp_path / "metadata.jsonl")
    assert [line["file_name"] for line in found] == ["row-0.png", "row-1-0.jpg", "row-1-1.jpg", "夜 3.webp"]
    assert all(next(iter(line)) == "file_name" for line in found)
    assert [line["seed"] for line in found] == [100, 101, 102, 102]
    assert (report.rows_done, report.images, report.downloaded, report.exit_status) == (3, 4, 4, 0)
    assert report.bytes == sum((tmp_path / name).stat().st_size for name in names)


def test_every_line_has_the_recipe_and_the_users_columns(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(0, prompt='夜\n"x" 🐈', extra={"Category": "A", "seed": "theirs", "nested": {"a": [1, None]}})])
    fetch(store, JOB, tmp_path)
    (line,) = lines(tmp_path / "metadata.jsonl")
    assert line["prompt"] == '夜\n"x" 🐈'
    assert (line["seed"], line["extra_seed"]) == (100, "theirs")
    assert (line["Category"], line["nested"]) == ("A", {"a": [1, None]})
    assert (line["steps"], line["model"], line["flagged"], line["device"]) == (4, "tiny", False, "cpu")
    assert "extra" not in line
    assert line["image_number"] == 0
    assert "image" not in line, "an imagefolder puts the picture there"


def test_the_coordinates_of_a_swept_row_stand_in_its_line(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(0, coordinates={"scheduler": "euler"}, extra={"coordinates": "theirs"}), planned(1)])
    fetch(store, JOB, tmp_path)
    swept, plain = lines(tmp_path / "metadata.jsonl")
    assert (swept["coordinates"], swept["extra_coordinates"]) == ({"scheduler": "euler"}, "theirs")
    assert plain["coordinates"] is None


def test_a_second_fetch_keeps_what_is_right_and_mends_what_is_not(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(index) for index in range(4)])
    fetch(store, JOB, tmp_path)
    before = (tmp_path / "metadata.jsonl").read_bytes()
    (tmp_path / "row-1.png").write_bytes(b"image row-X 0 b")
    (tmp_path / "row-2.png").write_bytes(b"short")
    (tmp_path / "row-3.png").unlink()
    store.gets.clear()
    report = fetch(store, JOB, tmp_path)
    assert (report.kept, report.downloaded) == (1, 3)
    assert sum("/images/" in key for key in store.gets) == 3
    assert (tmp_path / "row-1.png").read_bytes() == b"image row-1 0 b"
    assert (tmp_path / "metadata.jsonl").read_bytes() == before


def test_in_mid_job_it_takes_what_is_there_and_goes_on_later(tmp_path: Path) -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(3)]
    add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0]), failed(rows[1])])
    report = fetch(store, JOB, tmp_path)
    assert (report.rows_done, report.rows_failed, report.rows_pending, report.exit_status) == (1, 1, 1, 1)
    assert visible(tmp_path) == {"row-0.png", "metadata.jsonl", "failed.jsonl"}
    (failure,) = lines(tmp_path / "failed.jsonl")
    assert (failure["id"], failure["error_class"], failure["attempts"]) == ("row-1", "render_error", 2)
    add_piece(store, 0, [done(store, 0, rows[1], "c"), done(store, 0, rows[2], "c")], "c")
    report = fetch(store, JOB, tmp_path)
    assert (report.rows_done, report.kept, report.downloaded, report.exit_status) == (3, 1, 2, 0)
    assert visible(tmp_path) == {"row-0.png", "row-1.png", "row-2.png", "metadata.jsonl"}


def test_dropped_images_have_no_file_and_no_line(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(0, num_images=3)], drop=(0, 2))
    report = fetch(store, JOB, tmp_path)
    assert visible(tmp_path) == {"row-0-1.png", "metadata.jsonl"}
    assert (report.images, report.dropped, len(lines(tmp_path / "metadata.jsonl"))) == (1, 2, 1)


def test_ids_that_a_disk_may_take_for_one_get_names_of_their_own(tmp_path: Path) -> None:
    store = MemoryStore()
    ids = ["Cat", "cat", "caf\u00e9", "cafe\u0301", "dog"]
    rows = [planned(index, id=name) for index, name in enumerate(ids)]
    rows += [
        planned(5, id="a", num_images=2),
        planned(6, id="a-1"),
        planned(7, id="猫" * 100),
        planned(8, id="猫" * 99),
    ]
    job(store, rows)
    report = fetch(store, JOB, tmp_path)
    names = visible(tmp_path) - {"metadata.jsonl"}
    assert report.images == len(names) == len({name.casefold() for name in names}) == 10
    assert {"Cat~000000.png", "cat~000001.png", "dog.png", "a~000005-0.png", "a-1~000006.png"} <= names
    assert max(len(name.encode()) for name in names) < 220


def test_missing_and_wrong_images_are_counted_and_have_no_line(tmp_path: Path) -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(4)]
    job(store, rows)
    del store.objects[keys.image(JOB, 0, 1, 0, "b", "png")]
    store.objects[keys.image(JOB, 1, 2, 0, "b", "png")] = b"image row-2 0 X"
    report = fetch(store, JOB, tmp_path)
    assert (report.images, report.problem_count, report.exit_status) == (2, 2, 1)
    assert [problem.file_name for problem in report.problems] == ["row-1.png", "row-2.png"]
    assert "not in the object store" in report.problems[0].message
    assert "sha256" in report.problems[1].message
    assert visible(tmp_path) == {"row-0.png", "row-3.png", "metadata.jsonl"}
    assert [line["id"] for line in lines(tmp_path / "metadata.jsonl")] == ["row-0", "row-3"]


def test_progress_ends_with_everything_counted(tmp_path: Path) -> None:
    store = MemoryStore()
    rows = [planned(0), planned(1, num_images=2), planned(2)]
    add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0]), done(store, 0, rows[1], drop=(1,)), failed(rows[2])])
    seen: list[FetchProgress] = []
    report = fetch(store, JOB, tmp_path, on_progress=seen.append)
    assert seen[-1] == FetchProgress(rows=3, images=2, bytes=report.bytes, total_rows=3, total_images=4)
    assert [progress.rows for progress in seen] == sorted(progress.rows for progress in seen)


def test_a_folder_of_another_job_or_with_other_files_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(0)])
    (tmp_path / "row-0.png").write_bytes(b"mine")
    with pytest.raises(JobConflict, match="did not fetch"):
        fetch(store, JOB, tmp_path)
    assert (tmp_path / "row-0.png").read_bytes() == b"mine"
    fetched = tmp_path / "new" / "folder"
    fetch(store, JOB, fetched)
    store.objects |= {key.replace(JOB, "other"): data for key, data in store.objects.items()}
    store.objects[keys.job_document("other")] = store.objects[keys.job_document("other")].replace(b"parti", b"other")
    with pytest.raises(JobConflict, match="job parti"):
        fetch(store, "other", fetched)


def test_no_such_job_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(JobNotFound):
        fetch(MemoryStore(), JOB, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class FullDisk(MemoryStore):
    """The disk is full after some images."""

    room = 3

    def download(self, key: str, file: BinaryIO, chunk: int = 1 << 20) -> str:
        if "/images/" in key:
            self.room -= 1
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return super().download(key, file, chunk)


@pytest.mark.parametrize("finalized", [False, True])
def test_a_full_disk_says_how_much_is_missing_and_the_same_call_goes_on(tmp_path: Path, finalized: bool) -> None:
    store = FullDisk()
    job(store, [planned(index) for index in range(9)])
    if finalized:
        finalize(store, JOB)
    with pytest.raises(LocalDiskError, match="disk is full") as caught:
        fetch(store, JOB, tmp_path, threads=1)
    assert "about 90 B are still to come" in caught.value.hint
    assert "same command" in caught.value.hint
    assert visible(tmp_path) == {"row-0.png", "row-1.png", "row-2.png"}
    assert not list(tmp_path.rglob("*.part"))
    store.room = 100
    report = fetch(store, JOB, tmp_path)
    assert (report.kept, report.downloaded) == (3, 6)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(0)])
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalDiskError, match="file"):
        fetch(store, JOB, tmp_path / "file" / "out")


class Flaky(MemoryStore):
    """Every image breaks off at first, for `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left: dict[str, int] = {}
        self.times = times

    def download(self, key: str, file: BinaryIO, chunk: int = 1 << 20) -> str:
        if "/images/" in key and self.left.setdefault(key, self.times) > 0:
            self.left[key] -= 1
            file.write(b"half")
            raise StoreUnavailable("connection broken")
        return super().download(key, file, chunk)


def test_a_broken_connection_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator.fetch, "RETRY_SECONDS", 0.001)
    store = Flaky(2)
    job(store, [planned(index) for index in range(3)])
    assert fetch(store, JOB, tmp_path).downloaded == 3
    store.times = 3
    store.left.clear()
    (tmp_path / "row-1.png").unlink()
    with pytest.raises(StoreUnavailable):
        fetch(store, JOB, tmp_path)
    assert visible(tmp_path) == {"row-0.png", "row-2.png", "metadata.jsonl"}


def test_an_interrupt_leaves_only_whole_files_and_the_same_call_goes_on(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(index) for index in range(200)])
    main = threading.get_ident()

    def interrupt(progress: FetchProgress) -> None:
        assert threading.get_ident() == main
        if progress.images == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(store, JOB, tmp_path, on_progress=interrupt)
    there = visible(tmp_path)
    assert 20 <= len(there) < 200
    assert "metadata.jsonl" not in there
    assert not list(tmp_path.rglob("*.part"))
    assert all((tmp_path / name).read_bytes() == f"image {Path(name).stem} 0 b".encode() for name in there)
    report = fetch(store, JOB, tmp_path)
    assert (report.kept, report.images) == (len(there), 200)


def test_leftovers_of_a_killed_fetch_go_when_they_are_old(tmp_path: Path) -> None:
    store = MemoryStore()
    job(store, [planned(0)])
    fetch(store, JOB, tmp_path)
    old, young = tmp_path / ".promptmill-fetch" / "old.part", tmp_path / ".promptmill-fetch" / "young.part"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    fetch(store, JOB, tmp_path)
    assert not old.exists()
    assert young.exists()
