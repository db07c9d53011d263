"""Rows of TSV.

By its registration (IANA, `text/tab-separated-values`) a quote is text like any other, and published prompt lists
rely on that. Spreadsheets quote cells that hold a tab, a line end or a quote. Both are read: a cell that is quoted as
a whole, quotes inside it doubled, is unquoted and may go over several lines; every other quote is text.
"""

import re
from collections import deque
from collections.abc import Iterator

Cells = tuple[int, list[str]]
"""The line at which a row begins, and its cells."""

# Characters, as the csv module's default; a quote that is never closed is followed no further than this.
MAX_CELL = 131_072

_QUOTED = re.compile(r'"((?:[^"]+|"")*+)"(?=\t|\Z)')
_OPEN = re.compile(r'"(?:[^"]+|"")*+\Z')
_STILL_OPEN = re.compile(r'(?:[^"]+|"")*+\Z')
_CLOSED = re.compile(r'(?:[^"]+|"")*+"(?=\t|\Z)')


def tsv_cells(lines: Iterator[tuple[int, str]]) -> Iterator[Cells]:
    """Rows of cells from decoded lines without their ends."""
    source = _Lines(lines)
    for line, text in source:
        yield line, text.split("\t") if '"' not in text else _quoted_cells(text, source)


class _Lines:
    """Lines that can be given back."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self._returned: deque[tuple[int, str]] = deque()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> tuple[int, str]:
        return self._returned.popleft() if self._returned else next(self._lines)

    def give_back(self, lines: list[tuple[int, str]]) -> None:
        self._returned.extendleft(reversed(lines))


def _quoted_cells(text: str, lines: _Lines) -> list[str]:
    cells: list[str] = []
    start = 0
    while True:
        match = _QUOTED.match(text, start)
        if match:
            cells.append(match[1].replace('""', '"'))
            end = match.end()
        elif _OPEN.match(text, start) and (more := _until_closed(lines)):
            text, start = "\n".join([text[start:], *more]), 0
            continue
        else:
            end = text.find("\t", start)
            end = len(text) if end < 0 else end
            cells.append(text[start:end])
        if end >= len(text):
            return cells
        start = end + 1


def _until_closed(lines: _Lines) -> list[str]:
    """The lines that an open cell goes over, with the one that closes it; none where nothing closes it."""
    taken: list[tuple[int, str]] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += len(line[1])
        if _CLOSED.match(line[1]):
            return [text for _, text in taken]
        if size > MAX_CELL or not _STILL_OPEN.match(line[1]):
            break
    lines.give_back(taken)
    return []
