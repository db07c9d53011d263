"""Errors of this machine's disk."""

import errno
import sqlite3
import tempfile
from pathlib import Path

import pytest

from orchestrator.local_disk import is_same_file, local_disk, scratch_folder, whole_file
from schemas.errors import LocalDiskError


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "cannot write"),
        (errno.EROFS, "cannot write"),
        (errno.EIO, "cannot use"),
    ],
)
def test_each_kind_has_its_words_and_a_way_on(number: int, words: str) -> None:
    with pytest.raises(LocalDiskError, match=f"{words}.*/data"), local_disk(Path("/data")):
        raise OSError(number, "what the system says")


def test_sqlite_reports_a_full_disk_its_own_way() -> None:
    with pytest.raises(LocalDiskError, match="full"), local_disk(Path("/data")):
        raise sqlite3.OperationalError("database or disk is full")


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), local_disk(Path("/data")):
        raise KeyError("x")


def test_a_scratch_folder_lives_as_long_as_its_block() -> None:
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_no_place_for_scratch_folders_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(LocalDiskError) as caught, scratch_folder():
        pass
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_file_that_was_not_finished_leaves_what_was_there(stop: type[BaseException], tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("before")

    def stopped() -> None:
        with whole_file(file) as half:
            half.write(b"half")
            raise stop

    with pytest.raises(stop):
        stopped()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "before"


def test_a_whole_file_takes_its_place_behind_a_link_as_well(tmp_path: Path) -> None:
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
    for text in ("first\r\n", "second"):
        with whole_file(tmp_path / "b.csv", text=True) as file:
            file.write(text)
        assert (tmp_path / "a.csv").read_bytes() == text.encode()
    assert (tmp_path / "b.csv").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_one_file_is_known_by_any_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert is_same_file(tmp_path / "a", tmp_path / "b")
    assert not is_same_file(tmp_path / "a", tmp_path / "none")
    assert not is_same_file(tmp_path / "a", Path("\0"))
