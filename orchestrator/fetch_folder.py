"""The folder that a job is fetched into: what lies there, and how files get there whole.

A file comes under its name only when all of it is there and its sha256 is right, so that an interrupted fetch leaves
nothing that looks like an image and is none.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from threading import Event
from typing import BinaryIO

from orchestrator.local_disk import local_disk
from schemas.errors import JobConflict

# Data set loaders pass over what is hidden.
PRIVATE = ".promptmill-fetch"
METADATA = "metadata.jsonl"
FAILED = "failed.jsonl"
_LEFTOVER_SECONDS = 3600
_CHUNK = 1 << 20


class Stopped(Exception):
    """The fetch was interrupted while a file was under way."""


class FetchFolder:
    """One folder, one job. Safe for use by many threads."""

    def __init__(self, path: Path, job: str, stop: Event) -> None:
        """Make the folder, or take up again one that an earlier fetch of the same job made.

        Raises:
            JobConflict: the folder holds another job, or other files.
            LocalDiskError: the folder cannot be made or written to.
        """
        self.path = path
        self._stop = stop
        self._private = path / PRIVATE
        check_folder(path, job)
        with local_disk(path):
            self._private.mkdir(parents=True, exist_ok=True)
            self._sign(job)
            self._remove_leftovers()

    def _sign(self, job: str) -> None:
        """Write down whose images these are: whole or not at all, as a full disk would leave half a name."""
        name = self._private / "job"
        if not name.exists():
            half = self._private / f"job-{os.getpid()}.part"
            half.write_text(job)
            half.replace(name)

    def _remove_leftovers(self) -> None:
        old = time.time() - _LEFTOVER_SECONDS  # younger ones may belong to a fetch that still runs
        for path in self._private.glob("*.part"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    path.unlink()

    def has(self, name: str, size: int, sha256: str) -> bool:
        """Whether the file is there, whole and right: its size first, which is cheap, then its bytes.

        Raises:
            OSError: it cannot be read.
        """
        path = self.path / name
        try:
            return path.stat().st_size == size and _sha256(path) == sha256
        except FileNotFoundError:
            return False

    def put(self, name: str, write: Callable[[BinaryIO], bool]) -> bool:
        """Write a file: `write` fills it and says whether it is right; only then it gets its name.

        Raises:
            OSError: the disk is full or not writable.
            Stopped: the fetch was interrupted.
        """
        with self.draft() as draft:
            with draft.open("wb") as file:
                right = write(_Watched(file, self._stop))  # type: ignore[arg-type]
            if right:
                draft.replace(self.path / name)
            return right

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A path to write to; what still lies there at the end is removed."""
        draft = self._private / f"{token_hex(8)}.part"
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)


class _Watched:
    """A file that stops being written once the fetch is interrupted."""

    def __init__(self, file: BinaryIO, stop: Event) -> None:
        self._file = file
        self._stop = stop

    def write(self, data: bytes) -> int:
        if self._stop.is_set():
            raise Stopped
        return self._file.write(data)


def check_folder(path: Path, job: str) -> None:
    """Whether a job may be fetched into a folder: a new or empty one, or one that it was fetched into before.

    Nothing that promptmill did not put there is ever overwritten. Hidden files and folders do not count.

    Raises:
        JobConflict: the folder holds another job, or other files.
        LocalDiskError: the folder cannot be read.
    """
    hint = "name another folder with -o"
    with local_disk(path):
        if (path / PRIVATE / "job").exists():
            other = (path / PRIVATE / "job").read_text()
            if other != job:
                raise JobConflict(f"{path} holds the images of job {other}", hint=hint)
        elif path.exists() and any(entry.is_file() and entry.name[0] != "." for entry in path.iterdir()):
            raise JobConflict(f"{path} holds files that promptmill did not fetch", hint=hint)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
