"""A manifest -> rows, streamed, every fault collected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.manifests.building import CheckModel, RowBuilder
from orchestrator.manifests.columns import Columns
from orchestrator.manifests.delimited import csv_records, text_records, tsv_records
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.formats import detect_format
from orchestrator.manifests.ids import IdIndex, given_id, report_repeated
from orchestrator.manifests.jsonl import jsonl_records
from orchestrator.manifests.options import Format, ManifestOptions
from orchestrator.manifests.parquet import parquet_records
from orchestrator.manifests.source import Record, iter_lines
from schemas.errors import ManifestError
from schemas.rows import Row


class AuthoredRow(NamedTuple):
    """A valid row and where it stands: `position` from 0 among the rows, `line` from 1 as an editor counts.

    A row of CSV or TSV that goes over several lines has the first of them; one of Parquet has its number, from 1.
    """

    position: int
    line: int
    row: Row
    coordinates: dict[str, Any] | None = None
    """Where a swept row stands in its parameter space: name -> value."""


def read(
    path: Path, options: ManifestOptions, faults: Faults, *, check_model: CheckModel | None = None
) -> Iterator[AuthoredRow]:
    """Stream the valid rows of a manifest, in its order. Call `faults.raise_if_any()` after the last one.

    Memory is constant in rows and faults. Ids that come twice, and that there are no rows, are known, and added, only
    at the end. A row with faults is left out, but counts in `position`.

    Args:
        check_model: says what is wrong with an alias for a pipeline, or None; asked once for each pair.
    """
    try:
        file_format = detect_format(path, options)
    except ManifestError as error:
        faults.extend(error)
        return
    builder = RowBuilder(options, faults, check_model=check_model, strip=file_format in ("csv", "tsv"))
    with IdIndex() as ids:
        for position, (line, values, extra) in enumerate(_records(path, file_format, options, faults)):
            row = builder.build(line, values, extra)
            if row is None:
                ids.add(given_id(values))
                continue
            ids.add(row.id)
            yield AuthoredRow(position, line, row)
        if not len(ids) and not faults.total:
            faults.add(None, "no rows")
        report_repeated(ids, lambda: _records(path, file_format, options, Faults()), faults)


def _records(path: Path, file_format: Format, options: ManifestOptions, faults: Faults) -> Iterator[Record]:
    columns = Columns(options)
    if file_format == "parquet":
        return parquet_records(path, columns, options.limits, faults)
    lines = iter_lines(path, options.limits, faults)
    if file_format == "jsonl":
        return jsonl_records(lines, columns, options.limits, faults)
    readers = {"csv": csv_records, "tsv": tsv_records, "text": text_records}
    return readers[file_format](lines, columns, faults)
