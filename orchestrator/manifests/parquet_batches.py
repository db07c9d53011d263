"""Batches of a Parquet file that fit in memory, whatever its encodings make of a few bytes.

A dictionary holds a text once, and a row that repeats it costs a bit: read as it stands, a file of a kilobyte comes to
gigabytes. So the longest text of each dictionary is looked up first, and decides how many rows are read at once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.options import ReadLimits

BATCH_ROWS = 1024
_BUFFER = 1 << 20
_BUDGET = 16 * 2**20
"""Bytes of text that a batch may come to."""
# What compression makes of text is 3 to 20 times less, what dictionaries make of it rarely a hundred times less.
_MOST_PACKED = 20
_MOST_REPEATED = 1000
# Values of lists in one row group; more of them have to take a byte each at least, packed as they are.
_MOST_VALUES = 20_000_000


class Piece(NamedTuple):
    """Rows that may become Python's values at once: their texts come to one line's limit, or it is one row.

    `first` is the number of the first of them, `size` their bytes.
    """

    first: int
    rows: pa.RecordBatch
    size: int


class ParquetBatches:
    """An open Parquet file.

    Raises:
        OSError, ValueError, pa.ArrowException: it is none, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self.schema: pa.Schema = self._file.schema_arrow

    def close(self) -> None:
        self._file.close()

    def pieces(self, limits: ReadLimits, faults: Faults) -> Iterator[Piece]:
        """All rows in order. What is too much to read is a fault, and ends them."""
        problem = self._too_much(limits)
        if problem:
            faults.add(None, problem, kind="too much")
            return
        line = 1
        for group in range(self._file.num_row_groups):
            rows = self._rows_at_once(group)
            for batch in self._file.iter_batches(rows, row_groups=[group], use_threads=False):
                yield from _pieces(line, batch, limits.line_bytes)
                line += batch.num_rows

    def _too_much(self, limits: ReadLimits) -> str | None:
        """What the file says of itself, before anything is unpacked."""
        total = sum(chunk.total_uncompressed_size for chunk in self._chunks())
        packed = self._path.stat().st_size
        if total > limits.total_bytes or total > max(limits.gzip_free_bytes, limits.gzip_ratio * packed):
            return f"{total:,} bytes, from {packed:,}: too much; write it as JSON Lines"
        for chunk in self._chunks():
            if chunk.num_values > max(_MOST_VALUES, chunk.total_uncompressed_size) and self._is_nested(chunk):
                return (
                    f"column {chunk.path_in_schema}: {chunk.num_values:,} values in one row group; write smaller ones"
                )
        for field in self.schema:
            width = field.type.byte_width if pa.types.is_fixed_size_binary(field.type) else 0
            if width * BATCH_ROWS > _BUDGET:
                return f"column {field.name}: values of {width:,} bytes each"
        for group in range(self._file.num_row_groups):
            for chunk in self._chunks(group):
                most = chunk.num_values * self._longest(group, chunk) if self._is_nested(chunk) else 0
                if most > max(16 * _BUDGET, _MOST_REPEATED * chunk.total_uncompressed_size):
                    return (
                        f"column {chunk.path_in_schema}: its texts may come to {most:,} bytes; write it as JSON Lines"
                    )
        return None

    def _rows_at_once(self, group: int) -> int:
        """Rows whose texts come to the budget, by the longest or, where none is known to be so, the usual ones."""
        rows = max(1, self._file.metadata.row_group(group).num_rows)
        size = 0.0
        for chunk in self._chunks(group):
            if chunk.physical_type != "BYTE_ARRAY" or chunk.total_uncompressed_size * BATCH_ROWS <= _BUDGET:
                continue
            usual = chunk.total_uncompressed_size / rows
            if _is_dense(chunk):
                # Neighbours share their beginnings, or packing found much to share: each may be as long as any.
                usual = chunk.total_uncompressed_size
            size += max(usual, self._longest(group, chunk) * chunk.num_values / rows)
        return max(1, min(BATCH_ROWS, int(_BUDGET / size) if size else BATCH_ROWS))

    def _longest(self, group: int, chunk: pq.ColumnChunkMetaData) -> int:
        """Bytes of the longest text of a chunk's dictionary; 0 where it has none."""
        if chunk.physical_type != "BYTE_ARRAY" or not chunk.has_dictionary_page:
            return 0
        path = chunk.path_in_schema
        with _opened(self._path, read_dictionary=[path]) as file:
            first = next(file.iter_batches(1, row_groups=[group], columns=[path], use_threads=False), None)
            found = [longest_text(one) for column in first.columns for one in _dictionaries(column)] if first else []
        return max(found, default=chunk.total_uncompressed_size)

    def _chunks(self, group: int | None = None) -> Iterator[pq.ColumnChunkMetaData]:
        metadata = self._file.metadata
        for number in range(metadata.num_row_groups) if group is None else (group,):
            found = metadata.row_group(number)
            yield from (found.column(at) for at in range(found.num_columns))

    def _is_nested(self, chunk: pq.ColumnChunkMetaData) -> bool:
        return chunk.path_in_schema not in self.schema.names


def _opened(path: Path, **options: object) -> pq.ParquetFile:
    return pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True, **options)


def _is_dense(chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether a chunk's bytes say little of how long single texts are."""
    large = chunk.total_uncompressed_size > _BUDGET
    return "DELTA_BYTE_ARRAY" in chunk.encodings or (
        large and chunk.total_uncompressed_size > _MOST_PACKED * chunk.total_compressed_size
    )


def _dictionaries(array: pa.Array) -> Iterator[pa.Array]:
    """The dictionaries in an array, however nested."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield array.dictionary
    elif pa.types.is_map(kind):
        yield from _dictionaries(array.keys)
        yield from _dictionaries(array.items)
    elif pa.types.is_struct(kind):
        for at in range(kind.num_fields):
            yield from _dictionaries(array.field(at))
    elif pa.types.is_nested(kind):
        yield from _dictionaries(array.values)


def longest_text(dictionary: pa.Array) -> int:
    """Bytes of a dictionary's longest text; 0 where it holds no texts."""
    kind = dictionary.type
    if not len(dictionary) or not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ):
        return 0
    return pc.max(pc.binary_length(dictionary)).as_py() or 0


def _pieces(first: int, batch: pa.RecordBatch, most: int) -> Iterator[Piece]:
    size = sum(map(_size, batch.columns))
    if size <= most or batch.num_rows <= 1:
        yield Piece(first, batch, size)
        return
    half = batch.num_rows // 2
    yield from _pieces(first, batch.slice(0, half), most)
    yield from _pieces(first + half, batch.slice(half), most)


def _size(array: pa.Array) -> int:
    """Bytes of an array's values, or more."""
    if not pa.types.is_dictionary(array.type):
        return int(array.nbytes)
    if len(array) == 1:
        return int(array.dictionary_decode().nbytes)
    return len(array) * (8 + longest_text(array.dictionary))
