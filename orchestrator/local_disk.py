"""This machine's disk: its errors, mapped to ours in this one place."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from schemas.errors import LocalDiskError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def local_disk(place: Path, hint: str = "") -> Iterator[None]:
    """Turn errors of this machine's disk into one that says what to do.

    Raises:
        LocalDiskError: the disk is full, not writable, or broken.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, place, hint) from error
    except sqlite3.OperationalError as error:  # how SQLite reports a full or unwritable disk
        raise LocalDiskError(f"cannot write below {place}: {error}", hint=hint) from error


def disk_error(error: OSError, place: Path, hint: str = "") -> LocalDiskError:
    """What an error of the disk is to the user."""
    if error.errno in _FULL:
        return LocalDiskError(f"the disk is full at {place}", hint=hint or "free some space and run it again")
    if error.errno in _DENIED:
        return LocalDiskError(f"cannot write to {place}: {error.strerror}", hint=hint or "choose another folder")
    return LocalDiskError(f"cannot use {place}: {error.strerror or error}", hint=hint)


@contextmanager
def whole_file(path: Path, *, text: bool = False) -> Iterator[IO[Any]]:
    """A file that gets its name when the block ends well; else, and until then, what lies there stays as it is.

    A link stays one, and a device or a pipe is written to as it is.

    Args:
        text: UTF-8 with line ends as they are written, instead of bytes.

    Raises:
        LocalDiskError: the disk is full or not writable.
    """
    with local_disk(path):
        target = path.resolve()
        special = target.exists() and not target.is_file()
        draft = target if special else target.with_name(f".{target.name}.part")
        file: IO[Any] = draft.open("w", encoding="utf-8", newline="") if text else draft.open("wb")
    try:
        try:
            yield file
        finally:
            with local_disk(path):
                file.close()
        if not special:
            with local_disk(path):
                draft.replace(target)
    finally:
        if not special:
            draft.unlink(missing_ok=True)


def is_same_file(one: Path, other: Path) -> bool:
    """Whether both name one file that is there, by whatever links."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for files that live as long as the block does.

    Raises:
        LocalDiskError: there is no place for temporary files, or it is full.
    """
    try:
        temporary = TemporaryDirectory(prefix="promptmill-", ignore_cleanup_errors=True)
    except OSError as error:
        raise disk_error(error, Path(error.filename or "TMPDIR"), "set TMPDIR to a folder with room") from error
    with temporary as name:
        yield Path(name)
