"""A manifest -> rows, streamed, every fault collected."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from orchestrator.manifests.a1111 import a1111_records
from orchestrator.manifests.building import CheckModel, RowBuilder
from orchestrator.manifests.columns import Columns
from orchestrator.manifests.delimited import csv_records, text_records, tsv_records
from orchestrator.manifests.documents import PlacedFaults, Sweeper, read_outline
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.formats import detect_format
from orchestrator.manifests.ids import IdIndex, given_id, report_repeated
from orchestrator.manifests.jsonl import jsonl_records
from orchestrator.manifests.options import Format, ManifestOptions
from orchestrator.manifests.parquet import parquet_records
from orchestrator.manifests.source import Record, iter_lines, read_text
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
    opened = _open(path, file_format, options, faults, check_model)
    if opened is None:
        return
    builder, records = opened
    with IdIndex() as ids:
        for position, (line, values, extra, coordinates) in enumerate(records):
            if position >= options.limits.rows:
                faults.add(line, f"more than {options.limits.rows:,} rows: split the manifest (or manifest.max_rows)")
                break
            row = builder.build(line, values, extra)
            if row is None:
                ids.add(given_id(values))
                continue
            ids.add(row.id)
            yield AuthoredRow(position, line, row, coordinates)
        if not len(ids) and not faults.total:
            faults.add(None, "no rows")
        report_repeated(ids, lambda: _again(path, file_format, options, check_model), faults)


_Values = tuple[int, dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]
"""Line, fields, columns of the user's own, coordinates."""


def _open(
    path: Path, file_format: Format, options: ManifestOptions, faults: Faults, check_model: CheckModel | None
) -> tuple[RowBuilder, Iterator[_Values]] | None:
    """What builds the rows of a manifest, and what they are built of; None where it is no manifest."""
    if file_format == "yaml" or file_format == "json":
        return _document(path, file_format, options, faults, check_model)
    builder = RowBuilder(options, faults, check_model=check_model, strip=file_format in ("csv", "tsv", "a1111"))
    records = _records(path, file_format, options, faults)
    return builder, ((line, values, extra, None) for line, values, extra in records)


def _document(
    path: Path,
    file_format: Literal["yaml", "json"],
    options: ManifestOptions,
    faults: Faults,
    check_model: CheckModel | None,
) -> tuple[RowBuilder, Iterator[_Values]] | None:
    columns, placed = Columns(options), PlacedFaults(faults)
    text = read_text(path, options.limits, placed)
    outline = None if text is None else read_outline(text, file_format, columns, options.limits, placed)
    if outline is None:
        return None
    # The document's defaults are nearer to its rows than those of the command line.
    nearer = replace(options, defaults={**options.defaults, **outline.defaults})
    builder = RowBuilder(nearer, placed, check_model=check_model)
    records = Sweeper(outline, columns, placed, builder.build).records()
    return builder, ((found.line, found.values, found.extra, found.coordinates) for found in records)


def _again(
    path: Path, file_format: Format, options: ManifestOptions, check_model: CheckModel | None
) -> Iterator[tuple[int, dict[str, Any], Any]]:
    """The same records once more, without their faults."""
    opened = _open(path, file_format, options, Faults(), check_model)
    assert opened is not None
    return ((line, values, extra) for line, values, extra, _ in opened[1])


def _records(path: Path, file_format: Format, options: ManifestOptions, faults: Faults) -> Iterator[Record]:
    columns = Columns(options)
    if file_format == "parquet":
        return parquet_records(path, columns, options.limits, faults)
    lines = iter_lines(path, options.limits, faults)
    if file_format == "jsonl":
        return jsonl_records(lines, columns, options.limits, faults)
    readers = {"csv": csv_records, "tsv": tsv_records, "text": text_records, "a1111": a1111_records}
    return readers[file_format](lines, columns, faults)
