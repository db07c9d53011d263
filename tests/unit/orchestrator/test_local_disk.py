"""Errors of this machine's disk."""

import errno
import sqlite3
import tempfile
from pathlib import Path

import pytest

from orchestrator.local_disk import local_disk, scratch_folder
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
