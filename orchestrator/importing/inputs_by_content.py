"""Input images by their sha256: in folders of the user's own, and among the inputs of jobs."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.local_disk import local_disk
from orchestrator.prefetch import prefetch
from schemas import keys
from schemas.errors import ServiceError
from services.store import ObjectStore

_THREADS = 8
_MOST_BYTES = 64 * 2**20  # as worker.max_input_bytes: a larger file cannot have been an input

Source = Callable[[str], Path | None]
"""sha256 -> a file with that content, or None."""


class InputFiles:
    """Looks an input up in one place after the other, and remembers what it found."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._known: dict[str, Path | None] = {}

    def find(self, sha256: str) -> Path | None:
        """A file with this content."""
        if sha256 not in self._known:
            found = (path for source in self._sources if (path := source(sha256)) is not None)
            self._known[sha256] = next(found, None)
        return self._known[sha256]


class InFolder:
    """Files of a folder and everything in it, hashed when the first one is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_hash: dict[str, Path] | None = None

    def __call__(self, sha256: str) -> Path | None:
        if self._by_hash is None:
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="inputs") as pool:
                hashed = prefetch(pool, _hashed, _files(self._folder), 4 * _THREADS)
                self._by_hash = {digest: path for digest, path in hashed if digest}
        return self._by_hash.get(sha256)


class OfLocalJobs:
    """The inputs of jobs in the data folder of `promptmill run`, whether its services are running or not."""

    def __init__(self, data_dir: Path, job: str = "*") -> None:
        self._folder = data_dir / "s3"
        self._job = job

    def __call__(self, sha256: str) -> Path | None:
        pattern = keys.input_image(self._job, sha256, "*")
        found = (path for bucket in self._folder.glob("*") for path in bucket.glob(pattern))
        return next((path for path in found if _hashed(path)[0] == sha256), None)


class OfJob:
    """The inputs of one job in the object store, downloaded into a folder."""

    def __init__(self, store: ObjectStore, job: str, into: Path) -> None:
        self._store = store
        self._job = job
        self._into = into
        self._found: dict[str, str] | None = None

    def __call__(self, sha256: str) -> Path | None:
        """As a source.

        Raises:
            ServiceError: the object store did not answer.
            LocalDiskError: the folder cannot be written.
        """
        if self._found is None:
            folder = keys.input_image(self._job, "", "").rpartition("/")[0] + "/"
            self._found = {Path(info.key).stem: info.key for info in self._store.list(folder)}
        key = self._found.get(sha256)
        if key is None:
            return None
        data = self._store.get(key)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ServiceError(f"{key} is not what its name says: its sha256 differs")
        path = self._into / Path(key).name
        with local_disk(self._into):
            self._into.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return path


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(files))


def _hashed(path: Path) -> tuple[str, Path]:
    """The sha256 of a file as hex; empty for one that cannot be read, or is too large for an input."""
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return "", path
        return hashlib.sha256(path.read_bytes()).hexdigest(), path
    except OSError:
        return "", path
