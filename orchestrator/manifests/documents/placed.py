"""Faults of a row of a document: on the line of the value that is meant, and each told once.

A value in a document's defaults or space comes up in many rows; it is one fault all the same.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestrator.manifests.documents.space import Values
from orchestrator.manifests.faults import Faults

_MOST_REMEMBERED = 10_000
_NONE_SWEPT: Mapping[str, Values] = {}


class Places(NamedTuple):
    """Where the values of a row stand: in the row, in the document's defaults, or in the space.

    `lines` has lines by field or column, `swept` the values of the space by name.
    """

    lines: Mapping[str, int]
    swept: Mapping[str, Values] = _NONE_SWEPT

    def line(self, field: str | None, coordinates: Mapping[str, Any] | None = None) -> int | None:
        """The line of a field's value, `then[0].steps` too; None: it stands on none of its own.

        Args:
            coordinates: the row's; without them a value of the space has the line of its name.
        """
        name = field or ""
        if name not in self.lines:
            name = name.partition("[")[0]
        values = self.swept.get(name)
        if values is not None and coordinates is not None and name in coordinates:
            return values.line_with(coordinates[name])
        return self.lines.get(name)


class PlacedFaults(Faults):
    """Hands faults and warnings on. `places` says where the values of the row in hand stand."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self._told: set[int] = set()
        self.places = Places({})

    def add(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
        once: int | None = None,
    ) -> None:
        """As in `Faults`."""
        line = self.places.line(field) or line
        if self._is_new("fault", line, field, message, value):
            self._faults.add(line, message, field=field, value=value, kind=kind, once=once)

    def warn(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
        once: int | None = None,
    ) -> None:
        """As in `Faults`."""
        line = self.places.line(field) or line
        if self._is_new("warning", line, field, message, value):
            self._faults.warn(line, message, field=field, value=value, kind=kind, once=once)

    @property
    def total(self) -> int:
        """All faults of the manifest."""
        return self._faults.total

    def _is_new(self, *what: object) -> bool:
        told = hash(tuple(repr(part) if isinstance(part, list | dict) else part for part in what))
        if told in self._told:
            return False
        if len(self._told) < _MOST_REMEMBERED:
            self._told.add(told)
        return True
