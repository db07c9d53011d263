"""How commands speak: data on standard output, everything else on standard error; text for people, or JSON."""

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schemas.errors import ManifestError, PromptmillError
from services.cli.manifest_faults import show_groups
from services.cli.visible import visible


@cache
def err() -> Console:
    """The console for progress and messages: one in a process, so that a message does not cut a progress bar."""
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def out() -> Console:
    """A console for data on standard output; wide where it is not a terminal, so that nothing is wrapped for `grep`."""
    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 400
    return console


def print_json(value: Any) -> None:
    """One JSON document on a line of standard output."""
    sys.stdout.buffer.write(orjson.dumps(value, default=str) + b"\n")
    sys.stdout.flush()


def print_table(columns: list[str], rows: list[list[str]], *, numbers: frozenset[str] = frozenset()) -> None:
    """A table for people on standard output; plain columns where it is not a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(visible(cell)) for cell in row))
    out().print(table)


def say(text: str, style: str = "") -> None:
    """A message for people, on standard error. `text` is taken as it is."""
    err().print(visible(text), style=style or None, markup=False)


def report_error(error: PromptmillError, *, as_json: bool) -> None:
    """Tell what went wrong and what to do next."""
    if as_json:
        sys.stderr.write(orjson.dumps(_as_data(error)).decode() + "\n")
        return
    console = err()
    if isinstance(error, ManifestError):
        show_groups(console, error.warnings, "yellow")
        show_groups(console, error.groups, "red")
    console.print(f"[bold red]error:[/] {escape(visible(error.message))}")
    if error.hint:
        console.print(f"[bold]what to do:[/] {escape(visible(error.hint))}")


def _as_data(error: PromptmillError) -> Mapping[str, Any]:
    data: dict[str, Any] = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, ManifestError):
        data |= {"total": error.total, "faults": [fault.model_dump() for fault in error.faults]}
        data |= {
            "groups": [group.model_dump(exclude={"first"}) for group in error.groups],
            "warnings": [group.model_dump() for group in error.warnings],
        }
    return data


def counted(number: int, noun: str) -> str:
    """`1 row`, `1,632 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def byte_size(size: float) -> str:
    """`512 B`, `1.2 MB`: in thousands, as disks and stores count."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def duration(seconds: float | None) -> str:
    """`1h 02m`, `3m 10s`, `12s`, or `-`."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours >= 48:
        return f"{hours // 24}d {hours % 24:02d}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
