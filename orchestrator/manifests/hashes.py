"""Finds what comes twice among millions of things, in constant memory.

Of each only a 64-bit hash is kept, eight bytes, and on disk from 262,144 of them on. Hashes that occur more than once
are candidates: whoever filled the index goes over its things again, and `Repeats` says which came before.
"""

import hashlib
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.local_disk import local_disk

_CHUNK = 1 << 18
_HASH_BYTES = 8
MOST_REPEATED = 4_000_000
"""Hashes that are looked at again; eight bytes each, and sixteen more then."""


class HashIndex:
    """Hashes in the order they are added. Python's own: 64 bits, keyed anew in each process for text."""

    def __init__(self, *, chunk: int = _CHUNK) -> None:
        self._chunk = chunk
        self._hashes = array("q")
        self._spilled = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the disk back."""
        if self._file is not None:
            self._file.close()

    def add(self, value: int) -> None:
        """Add a hash.

        Raises:
            LocalDiskError: the disk for temporary files is full.
        """
        self._hashes.append(value)
        if len(self._hashes) >= self._chunk:
            self._spill()

    def __len__(self) -> int:
        return self._spilled + len(self._hashes)

    def copy_to(self, other: "HashIndex") -> None:
        """Add all of these to another index."""
        for chunk in self._chunks():
            for value in chunk.to_pylist():
                other.add(value)

    def repeated(self) -> "array[int]":
        """Hashes that occur more than once, in their order; the first `MOST_REPEATED`."""
        slices = 1
        while slices * self._chunk < len(self):
            slices *= 2
        found = array("q")
        for number in range(slices):
            parts = [_slice(chunk, number, slices) for chunk in self._chunks()]
            counts = pc.value_counts(pa.chunked_array(parts, pa.int64()))
            repeated = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
            found.extend(repeated.slice(0, MOST_REPEATED - len(found)).to_pylist())
        return array("q", sorted(found))

    def _spill(self) -> None:
        with local_disk(_temporary(), "set TMPDIR to a folder with room"):
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="promptmill-")  # noqa: SIM115 - closed in close
            self._file.seek(0, 2)
            self._hashes.tofile(self._file)
            self._file.flush()
        self._spilled += len(self._hashes)
        self._hashes = array("q")

    def _chunks(self) -> Iterator[pa.Array]:
        for first in range(0, self._spilled, self._chunk):
            assert self._file is not None
            self._file.seek(first * _HASH_BYTES)
            yield _as_arrow(self._file.read(self._chunk * _HASH_BYTES))
        yield _as_arrow(self._hashes.tobytes())


class Repeats:
    """Says of things, given in their order, which one equal to it came first.

    Two are equal where their hash in the index and a second one agree: 128 bits of two kinds.
    """

    def __init__(self, repeated: "array[int]") -> None:
        self._hashes = repeated
        self._first = array("q", bytes(_HASH_BYTES * len(repeated)))
        self._marks = array("q", bytes(_HASH_BYTES * len(repeated)))

    def __len__(self) -> int:
        return len(self._hashes)

    def first(self, value: Hashable, place: int) -> int | None:
        """The place of the first thing equal to `value`; None: it is the first, or the only one.

        A place is a line or any other number above 0.
        """
        key = hash(value)
        at = bisect_left(self._hashes, key)
        if at == len(self._hashes) or self._hashes[at] != key:
            return None
        mark = _mark(value)
        if self._first[at] == 0:
            self._first[at], self._marks[at] = place, mark
            return None
        return self._first[at] if self._marks[at] == mark else None


def _mark(value: Hashable) -> int:
    data = repr(value).encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=_HASH_BYTES).digest(), "big", signed=True)


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _as_arrow(data: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(data) // _HASH_BYTES, [None, pa.py_buffer(data)])


def _slice(chunk: pa.Array, number: int, slices: int) -> pa.Array:
    if slices == 1:
        return chunk
    return pc.filter(chunk, pc.equal(pc.bit_wise_and(chunk, slices - 1), number))
