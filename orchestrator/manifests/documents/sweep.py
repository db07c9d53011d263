"""Rows of a document -> records, one for every combination of the row's parameter space, streamed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from orchestrator.manifests.columns import Columns
from orchestrator.manifests.documents.combine import Axis, BadCombination
from orchestrator.manifests.documents.nodes import Node
from orchestrator.manifests.documents.outline import Outline
from orchestrator.manifests.documents.placed import PlacedFaults
from orchestrator.manifests.documents.space import ParameterSpace, named, read_space
from orchestrator.manifests.records import Produced
from schemas.document import RowKeys

_CHECKED_OF_AN_AXIS = 1000

Accepts = Callable[[int, dict[str, Any], dict[str, Any] | None], object]
"""Checks one record, and adds its faults; None: it has some."""


class _Row(NamedTuple):
    """A row of the document, taken apart."""

    line: int
    values: dict[str, Any]
    extra: dict[str, Any]
    lines: dict[str, int]
    space: ParameterSpace
    template: Any
    key: str


class Sweeper:
    """Makes records of a document's rows.

    Args:
        accepts: tries a record. Each value of a space is tried once, on its own line, before its row is multiplied: a
            bad value is one fault, not one for each of a million rows.
        most_rows: of the whole document.
    """

    def __init__(
        self, outline: Outline, columns: Columns, faults: PlacedFaults, accepts: Accepts, *, most_rows: int
    ) -> None:
        self._outline = outline
        self._columns = columns
        self._faults = faults
        self._accepts = accepts
        self._most = most_rows
        self._made = 0

    def records(self) -> Iterator[Produced]:
        """Every record of every row, in the order of the document; a row's space with its last axis fastest."""
        number = -1
        for node in self._outline.rows:
            number += 1
            row = self._row(node, number)
            if row is None:
                continue
            self._faults.lines = self._outline.lines | row.lines
            if row.space.values or row.space.expression is not None:
                yield from self._swept(row)
            else:
                yield Produced(row.line, row.values, row.extra or None, None, row.template, row.key)
        self._faults.lines = {}
        self._columns.finish(self._faults)

    def _row(self, node: Node, number: int) -> _Row | None:
        mapping = {"prompt": node} if isinstance(node.value, str) else node.value
        if not isinstance(mapping, dict):
            self._faults.add(node.line, "expected a row, such as {prompt: a cat}, or its prompt alone")
            return None
        if not mapping.keys().isdisjoint(RowKeys.model_fields):
            keys = {
                name: node for name, node in mapping.items() if name in RowKeys.model_fields and node.value is not None
            }
            mapping = {name: node for name, node in mapping.items() if name not in RowKeys.model_fields}
        else:
            keys = {}
        self._faults.lines = {}
        fields, own = named(mapping, self._columns, self._faults)
        values = {name: value for name, (_, found) in fields.items() if (value := found.plain()) is not None}
        extra = self._outline.extra | {name: found.plain() for name, (_, found) in own.items()}
        lines = {name: found.line for name, (_, found) in (fields | own).items()}
        template = keys.get("template", self._outline.template)
        if template is not None:
            lines["template"] = template.line
        space = self._space(keys, values.keys() | own.keys())
        plain = None if template is None else template.plain()
        return _Row(node.line, values, extra, lines, space, plain, str(values.get("id", number)))

    def _space(self, keys: Mapping[str, Node], given: set[str]) -> ParameterSpace:
        outer = self._outline.space
        if "space" not in keys and "combine" not in keys:
            return outer.with_row(ParameterSpace({}), given) if outer.values else outer
        own = read_space(keys.get("space"), keys.get("combine"), self._columns, self._faults)
        for name in sorted(given & set(own.values)):
            self._faults.add(own.values[name].line, "the row gives it a value, and its space others", field=name)
        return outer.with_row(own, given)

    def _swept(self, row: _Row) -> Iterator[Produced]:
        try:
            axes = row.space.axes()
        except BadCombination as error:
            self._faults.add(row.space.line, str(error), field="combine")
            return
        if not self._fits(row, axes) or not self._values_are_sound(row, axes):
            return
        lines = {name: found.line for name, found in row.space.values.items()}
        self._faults.lines = self._outline.lines | row.lines | lines
        make = _Maker(row)
        for number, found in _numbered(axes):
            yield make.record(number, found)

    def _fits(self, row: _Row, axes: list[Axis]) -> bool:
        count = 1
        for axis in axes:
            count *= axis.length
        self._made += count
        if self._made > self._most:
            message = f"{self._made:,} rows up to here; at most {self._most:,} are accepted (manifest.max_rows)"
            self._faults.add(row.line, message)
            return False
        return True

    def _values_are_sound(self, row: _Row, axes: list[Axis]) -> bool:
        """Try every value once, beside the first of all other axes."""
        make, sound = _Maker(row), True
        first = {name: value for axis in axes for name, value in zip(axis.names, next(iter(axis)), strict=True)}
        for axis in axes:
            for at, step in enumerate(axis):
                if at >= _CHECKED_OF_AN_AXIS:
                    break  # the rest are checked row by row
                record = make.record("", first | dict(zip(axis.names, step, strict=True)))
                self._faults.lines = self._outline.lines | row.lines | _lines_at(row.space, axis, at)
                sound = self._accepts(record.line, record.values, record.extra) is not None and sound
        return sound


def _lines_at(space: ParameterSpace, axis: Axis, at: int) -> dict[str, int]:
    """Lines of all values of a space, exactly those of one step of one axis."""
    lines = {name: found.line for name, found in space.values.items()}
    for name in axis.names:
        found = space.values[name]
        lines[name] = found.line_of(at) if len(found.items) == axis.length else found.line
    return lines


class _Maker:
    """Makes the records of one row."""

    def __init__(self, row: _Row) -> None:
        self._row = row
        self._own = row.space.own

    def record(self, number: str, found: dict[str, Any]) -> Produced:
        """The record of one combination. `number` tells it from the others in its id."""
        row = self._row
        if self._own:
            extra = row.extra | {name: value for name, value in found.items() if name in self._own}
            values = row.values | {name: value for name, value in found.items() if name not in self._own}
        else:
            extra, values = row.extra, row.values | found
        row_id = values.get("id")
        if row_id is not None:
            values["id"] = f"{row_id}{number}"
        coordinates = found if "id" not in found else {name: found[name] for name in found if name != "id"}
        return Produced(row.line, values, extra or None, coordinates, row.template, row.key)


def _numbered(axes: list[Axis]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination with its number, `-0-3-1`: its step on every axis, from 0, padded to sort.

    An axis that gives ids itself has no number: its ids tell its steps apart.
    """
    if not axes:
        yield "", {}
        return
    *outer, last = axes
    names = last.names
    name = names[0] if len(names) == 1 else None
    width = 0 if "id" in names else len(str(last.length - 1))
    for number, found in _numbered(outer):
        for at, step in enumerate(last):
            own = f"{number}-{at:0{width}d}" if width else number
            if name is not None:
                yield own, {**found, name: step[0]}
            else:
                yield own, found | dict(zip(names, step, strict=True))
