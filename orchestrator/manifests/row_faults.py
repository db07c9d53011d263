"""What turns out to be wrong with a row after it was read: told where the value that is meant stands, and once.

A value in a document's defaults or space comes up in many rows; it is one fault all the same, and the rows that have
it are counted. Where a row is a line, each has its own.
"""

from typing import Any

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.reading import AuthoredRow
from schemas.rows import Row


class RowFaults:
    """Adds faults and warnings of rows to those of their manifest."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def add(
        self,
        authored: AuthoredRow,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
    ) -> None:
        """Add one; arguments as of `Faults.add`, with the row in the place of its line."""
        line, once = _place(authored, message, field, value)
        self._faults.add(line, message, field=field, value=value, kind=kind, once=once)

    def warn(
        self,
        authored: AuthoredRow,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
    ) -> None:
        """Add one warning."""
        line, once = _place(authored, message, field, value)
        self._faults.warn(line, message, field=field, value=value, kind=kind, once=once)


def _place(authored: AuthoredRow, message: str, field: str | None, value: object) -> tuple[int, int | None]:
    """The line of what is meant, and a hash of all that is said about it; None: it is said of each row."""
    if authored.places is None:
        return authored.line, None
    line = authored.places.line(field, authored.coordinates) or authored.line
    told = value if isinstance(value, str | int | float) else repr(value)
    return line, hash((line, field, message, told))


def value_of(row: Row, field: str) -> Any:
    """What a row says in a field that a fault names, `then[0].strength` too; None where it says nothing."""
    stage, _, name = field.rpartition(".")
    if not stage:
        return getattr(row, field, None)
    position = int(stage.removeprefix("then[").removesuffix("]"))
    return getattr(row.then[position], name, None)
