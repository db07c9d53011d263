"""How faults and warnings of a manifest are shown to a person: by kind, with their number and their lines."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console

from schemas.errors import Fault, FaultGroup
from services.cli.visible import visible

SHOWN_LINES = 100
"""Of a kind; `--report FILE` has all."""
_TOLD_SINGLY = 3


def show_groups(console: Console, groups: Iterable[FaultGroup], style: str) -> None:
    """Print each kind: a few one by one, many under a heading."""
    for group in groups:
        for text in group_lines(group):
            console.print(visible(text), style=style, markup=False)


def group_lines(group: FaultGroup) -> Iterator[str]:
    """The lines that tell of one kind.

    ```
    line 7, steps = 0: expected a whole number from 1 to 1,000
    steps: expected a whole number from 1 to 1,000 (214 rows)
      lines 3 (x), 5 (y), 8-12 (0) ... and 114 more
    ```
    """
    shown = group.first[:SHOWN_LINES]
    if group.count == len(shown) <= _TOLD_SINGLY:
        yield from map(str, shown)
        return
    yield f"{group.field + ': ' if group.field else ''}{group.kind} ({_count(group)})"
    more = group.count - len(shown)
    rest = f" ... and {more:,} more" if more else ""
    if any(fault.message != group.kind for fault in shown):
        yield from (f"  {fault}" for fault in shown)
        if rest:
            yield f" {rest}"
    elif shown:
        yield f"  {', '.join(_places(shown))}{rest}"


def _count(group: FaultGroup) -> str:
    times = f"{group.count:,} times" if group.count > 1 else "once"
    return times if group.rows is None or group.rows <= group.count else f"{times}, in {group.rows:,} rows"


def _places(faults: Sequence[Fault]) -> Iterator[str]:
    """`lines 3 (x)`, `5-9 (y)`: runs of lines with one value together."""
    word = "lines "
    start = 0
    for end in range(1, len(faults) + 1):
        if end < len(faults) and _follows(faults[end - 1], faults[end]):
            continue
        first, last = faults[start], faults[end - 1]
        lines = "the whole file" if first.line is None else f"{word}{first.line}"
        word = ""
        value = f" ({first.value})" if first.value is not None else ""
        yield f"{lines}{f'-{last.line}' if last.line != first.line else ''}{value}"
        start = end


def _follows(one: Fault, other: Fault) -> bool:
    # Rows of a sweep stand on one line.
    return one.line is not None and other.line in (one.line, one.line + 1) and one.value == other.value
