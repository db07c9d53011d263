"""Finds ids that come twice, in constant memory.

Of each row only a 64-bit hash is kept, eight bytes, and on disk from 262,144 rows on. Equal hashes are candidates:
`orchestrator.manifests.reading` reads those rows again and compares the ids themselves.
"""

import tempfile
from array import array
from collections.abc import Iterator
from types import TracebackType
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from schemas.rows import default_row_id

_CHUNK_ROWS = 1 << 18
_HASH_BYTES = 8
MOST_CANDIDATES = 10_000


class IdIndex:
    """Hashes of row ids in the order of the manifest. Costs nothing while no row gives an id."""

    def __init__(self, *, chunk_rows: int = _CHUNK_ROWS) -> None:
        self._chunk_rows = chunk_rows
        self._unnamed = 0
        self._started = False
        self._hashes = array("q")
        self._spilled = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "IdIndex":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row_id: str | None) -> None:
        """The id of the next row; None: it has its number."""
        if not self._started:
            if row_id is None:
                self._unnamed += 1
                return
            self._start()
        # Python's own hash of text: 64 bits, keyed anew in each process, so nobody can aim for collisions.
        self._hashes.append(hash(default_row_id(len(self)) if row_id is None else row_id))
        if len(self._hashes) >= self._chunk_rows:
            self._spill()

    def __len__(self) -> int:
        """Rows so far."""
        return self._spilled + len(self._hashes) if self._started else self._unnamed

    def candidates(self) -> list[int]:
        """Positions, from 0 and in order, of rows whose hash another row has; the first 10,000."""
        if not self._started:
            return []
        repeated = self._repeated()
        found: list[int] = []
        if len(repeated):
            for first, chunk in self._chunks():
                positions = pc.indices_nonzero(pc.is_in(chunk, value_set=repeated))
                found.extend(first + position for position in positions.to_pylist())
                if len(found) >= MOST_CANDIDATES:
                    break
        return found[:MOST_CANDIDATES]

    def _start(self) -> None:
        self._started = True
        for _ in range(self._unnamed):
            self.add(None)

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="promptmill-ids-")  # noqa: SIM115 - closed in __exit__
        self._hashes.tofile(self._file)
        self._spilled += len(self._hashes)
        self._hashes = array("q")

    def _repeated(self) -> pa.Array:
        """Hashes that occur more than once, found one slice of the hash space after the other."""
        slices = 1
        while slices * self._chunk_rows < len(self):
            slices *= 2
        found: list[int] = []
        for number in range(slices):
            parts = [_slice(chunk, number, slices) for _, chunk in self._chunks()]
            counts = pc.value_counts(pa.chunked_array(parts, pa.int64()))
            repeated = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
            found.extend(repeated.slice(0, MOST_CANDIDATES - len(found)).to_pylist())
        return pa.array(found, pa.int64())

    def _chunks(self) -> Iterator[tuple[int, pa.Array]]:
        for first in range(0, self._spilled, self._chunk_rows):
            assert self._file is not None
            self._file.seek(first * _HASH_BYTES)
            yield first, _as_arrow(self._file.read(self._chunk_rows * _HASH_BYTES))
        yield self._spilled, _as_arrow(self._hashes.tobytes())


def _as_arrow(data: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(data) // _HASH_BYTES, [None, pa.py_buffer(data)])


def _slice(chunk: pa.Array, number: int, slices: int) -> pa.Array:
    if slices == 1:
        return chunk
    return pc.filter(chunk, pc.equal(pc.bit_wise_and(chunk, slices - 1), number))
