"""Faults of a row of a document: on the line of the value that is meant, and each told once.

A value in a document's defaults or space comes up in many rows; it is one fault all the same.
"""

from collections.abc import Mapping

from orchestrator.manifests.faults import Faults

_MOST_REMEMBERED = 10_000


class PlacedFaults(Faults):
    """Hands faults and warnings on. `lines` says where the values of the row in hand stand, by field."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self._told: set[tuple[object, ...]] = set()
        self.lines: Mapping[str, int] = {}

    def add(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
    ) -> None:
        """As in `Faults`."""
        line = self.lines.get(field or "", line)
        if self._is_new("fault", line, field, message, value):
            self._faults.add(line, message, field=field, value=value, kind=kind)

    def warn(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
    ) -> None:
        """As in `Faults`."""
        line = self.lines.get(field or "", line)
        if self._is_new("warning", line, field, message, value):
            self._faults.warn(line, message, field=field, value=value, kind=kind)

    @property
    def total(self) -> int:
        """All faults of the manifest."""
        return self._faults.total

    def _is_new(self, *what: object) -> bool:
        told = tuple(repr(part) if isinstance(part, list | dict) else part for part in what)
        if told in self._told:
            return False
        if len(self._told) < _MOST_REMEMBERED:
            self._told.add(told)
        return True
