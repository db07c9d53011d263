"""CSV, TSV and plain text.

CSV follows RFC 4180: a quote inside a quoted cell is doubled, anything else is a fault. The separator is a comma, or
the semicolon or tab of a header that has no comma. Where it is a semicolon, decimals may have a comma: so spreadsheets
save in languages that write `7,5`. TSV: see `orchestrator.manifests.tsv`.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any

from orchestrator.manifests.columns import ColumnPlan, Columns
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.source import NOT_UTF8, Line, Record, not_utf8
from orchestrator.manifests.tsv import MAX_CELL, Cells, tsv_cells

DECIMALS = ("guidance_scale", "strength")  # fields that take other numbers than whole ones
_DECIMAL_COMMA = re.compile(r"\s*\d+,\d+\s*")
# A key of A1111's prompts file at the beginning of a line; `orchestrator.manifests.a1111` has them all.
_A1111_LINE = re.compile(r"--(prompt|negative_prompt|seed|steps|cfg_scale|width|height|sampler_name|sd_model)\s")


def is_a1111_line(text: str) -> bool:
    """Whether a line begins with a key of A1111's prompts file, as no prompt does."""
    return _A1111_LINE.match(text) is not None


def text_records(lines: Iterable[Line], columns: Columns, faults: Faults) -> Iterator[Record]:
    """Plain text: one prompt a line, unchanged; blank lines are skipped."""
    columns.finish(faults)
    for line, text in decoded(lines, faults):
        if text.startswith("--") and is_a1111_line(text):
            faults.add(line, "a line of A1111's prompts file: --format a1111 reads those", value=text)
        elif text and not text.isspace():
            yield line, {"prompt": text}, None


def csv_records(lines: Iterable[Line], columns: Columns, faults: Faults) -> Iterator[Record]:
    """CSV with a header. Empty cells are not given; a short row lacks its last cells."""
    feed = _Feed(decoded(lines, faults, keep_cr=True))
    records = _table(_csv_cells(feed, faults), columns, faults)
    return _with_points(records) if feed.delimiter == ";" else records


def tsv_records(lines: Iterable[Line], columns: Columns, faults: Faults) -> Iterator[Record]:
    """TSV with a header. Empty cells are not given; a short row lacks its last cells."""
    return _table(tsv_cells(decoded(lines, faults)), columns, faults)


def decoded(lines: Iterable[Line], faults: Faults, *, keep_cr: bool = False) -> Iterator[tuple[int, str]]:
    """Lines as text, without a CR at their end. One that is not UTF-8 is a fault, and goes on as well as it can."""
    for line, raw in lines:
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            faults.add(line, not_utf8(raw, error), kind=NOT_UTF8)
            # The row goes on, so that a quoted cell over several lines does not fall apart as well.
            text = raw.decode("utf-8", "replace")
        yield line, text if keep_cr or not text.endswith("\r") else text[:-1]


def _table(rows: Iterator[Cells], columns: Columns, faults: Faults) -> Iterator[Record]:
    header = next((row for row in rows if any(row[1])), None)
    if header is None:
        return
    names = tuple(name.strip() for name in header[1])
    remedy = " (one prompt a line, without a header, is --format text)"
    plan = columns.table(names, header[0], faults, remedy=remedy)
    if plan is None:
        return
    width = len(names)
    fields = [(position, field) for position, _, field in plan.fields]
    for line, cells in rows:
        if len(cells) != width and not _fits(line, cells, width, faults):
            continue
        values: dict[str, Any] = {field: cells[position] for position, field in fields if cells[position]}
        extra = {column: cells[position] for position, column in plan.extra} if plan.extra else None
        if plan.unnamed and not _unnamed_are_empty(line, cells, plan, faults):
            continue
        if values or any(cells):
            yield line, values, extra


def _fits(line: int, cells: list[str], width: int, faults: Faults) -> bool:
    """Make a row as wide as the header, where nothing is lost by it."""
    if any(cells[width:]):
        faults.add(line, f"{len(cells)} cells, but the header has {width}", kind="too many cells")
        return False
    del cells[width:]
    cells.extend([""] * (width - len(cells)))
    return True


def _unnamed_are_empty(line: int, cells: list[str], plan: ColumnPlan, faults: Faults) -> bool:
    for position in plan.unnamed:
        if cells[position]:
            remedy = "name it in the header, or leave it out (pandas: index=False)"
            faults.add(line, f"column {position + 1} has no name: {remedy}", value=cells[position])
            return False
    return True


def _with_points(records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        values = record[1]
        for field in DECIMALS:
            text = values.get(field)
            if text is not None and _DECIMAL_COMMA.fullmatch(text):
                values[field] = text.replace(",", ".")
        yield record


def _csv_cells(feed: "_Feed", faults: Faults) -> Iterator[Cells]:
    reader = csv.reader(feed, strict=True, delimiter=feed.delimiter)
    while True:
        feed.start = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            faults.add(feed.start, _csv_fault(str(error)))
            continue
        yield feed.start, cells


class _Feed:
    """Gives lines to the csv module and knows where the row in hand began."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self._first = next(lines, None)
        self.start = 0
        header = self._first[1] if self._first else ""
        self.delimiter = next((mark for mark in ",;\t" if mark in header), ",")

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        if self._first is not None:
            line, text = self._first
            self._first = None
        else:
            line, text = next(self._lines)
        if not self.start:
            self.start = line
        return text + "\n"


def _csv_fault(error: str) -> str:
    if "field larger" in error or "unexpected end" in error:
        return f"a quote opens a cell here and is not closed within {MAX_CELL:,} characters"
    if "expected after" in error:
        return 'after the closing quote the cell must end; a quote inside a quoted cell is doubled: ""'
    if "new-line" in error:
        return "a carriage return in a cell that is not quoted"
    return f"not valid CSV: {error}"
