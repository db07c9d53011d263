"""Parquet, a batch of rows at a time. The `line` of a row is its number, from 1."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.manifests.columns import ColumnPlan, Columns
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.options import ReadLimits
from orchestrator.manifests.parquet_batches import ParquetBatches
from orchestrator.manifests.source import NOT_UTF8, Record, Source
from schemas.errors import ManifestError


def parquet_records(path: Path, columns: Columns, limits: ReadLimits, faults: Faults) -> Iterator[Record]:
    """One record a row. Nulls, and NaN as pandas writes it for them, are not given.

    Dates, times and decimals in columns of the user's own become text, as JSON has none of them.
    """
    try:
        with closing(Source(path)) as source:
            if source.compressed:
                faults.add(None, "a compressed Parquet file: unpack it (Parquet is compressed inside)")
                return
        with closing(ParquetBatches(path)) as batches:
            yield from _records(batches, columns, limits, faults)
    except ManifestError as error:
        faults.extend(error)
    except MemoryError:
        faults.add(None, "it takes more memory than there is: write smaller row groups, or JSON Lines", kind="memory")
    except (pa.ArrowException, OSError, ValueError) as error:
        # pyarrow maps a damaged file to any of these, at its start or in the middle.
        faults.add(None, f"not a Parquet file, or a damaged one: {_first_line(error)}", kind="damaged")


def _records(batches: ParquetBatches, columns: Columns, limits: ReadLimits, faults: Faults) -> Iterator[Record]:
    schema = batches.schema
    plan = columns.table(tuple(schema.names), 1, faults)
    if plan is None or not _is_readable(schema, plan, faults):
        return
    total = 0
    for first, rows, size in batches.pieces(limits, faults):
        total += size
        if total > limits.total_bytes:
            faults.add(first, f"{total:,} bytes so far: too much")
            return
        if size > limits.line_bytes and rows.num_rows == 1:
            faults.add(first, f"a row longer than {limits.line_bytes:,} bytes")
            continue
        yield from _rows(rows, plan, first, faults)


def _is_readable(schema: pa.Schema, plan: ColumnPlan, faults: Faults) -> bool:
    readable = True
    for position, column in plan.extra:
        if _holds_bytes(schema.field(position).type):
            faults.add(1, "a column of bytes cannot be kept: leave it out of the file", field=column)
            readable = False
    for position in plan.unnamed:
        faults.add(1, f"column {position + 1} has no name")
        readable = False
    return readable


def _rows(batch: pa.RecordBatch, plan: ColumnPlan, first: int, faults: Faults) -> Iterator[Record]:
    length = batch.num_rows
    own = [(field, _values(batch.column(at), column, first, faults)) for at, column, field in plan.fields]
    extra = [(column, _values(batch.column(at), column, first, faults)) for at, column in plan.extra]
    for row in range(length):
        values = {field: cells[row] for field, cells in own if cells[row] is not None}
        yield first + row, values, {column: cells[row] for column, cells in extra} if extra else None


def _values(array: pa.Array, column: str, first: int, faults: Faults) -> list[Any]:
    """A column's values as JSON knows them. One that cannot be one is a fault, and None here."""
    kind = array.type
    if pa.types.is_floating(kind):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
    elif pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        array = array.cast(pa.string())
    convert = _jsonable if pa.types.is_nested(kind) else None
    try:
        values: list[Any] = array.to_pylist()
        if convert:
            return [convert(value) for value in values]
    except (ValueError, TypeError, OverflowError, pa.ArrowException):
        return [_value(array, at, column, first, convert, faults) for at in range(len(array))]
    return values


def _value(
    array: pa.Array, at: int, column: str, first: int, convert: Callable[[Any], Any] | None, faults: Faults
) -> Any:
    try:
        value = array[at].as_py()
        return convert(value) if convert else value
    except UnicodeDecodeError:
        faults.add(first + at, NOT_UTF8, field=column)
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        faults.add(first + at, f"cannot be read: {_first_line(error)}", field=column, kind="unreadable")
    return None


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
