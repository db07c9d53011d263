"""Rows of a document -> records, one for every combination of the row's parameter space, streamed."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from orchestrator.manifests.columns import Columns
from orchestrator.manifests.documents.combine import Axis, BadCombination
from orchestrator.manifests.documents.nodes import Node
from orchestrator.manifests.documents.outline import Outline
from orchestrator.manifests.documents.placed import PlacedFaults, Places
from orchestrator.manifests.documents.space import ParameterSpace, named, read_space
from orchestrator.manifests.names import INITIAL_IMAGE
from orchestrator.manifests.records import Produced
from schemas.document import RowKeys
from schemas.rows import RowBase

_CHECKED_OF_AN_AXIS = 1000

# What says, beside itself, which pipeline a row without one has.
_DECIDE_PIPELINE = frozenset({"pipeline", "image", "mask", INITIAL_IMAGE})

Accepts = Callable[[int, dict[str, Any], dict[str, Any] | None], RowBase | None]
"""Makes a row of one record, and adds its faults; None: it has some."""


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
            self._faults.places = Places(self._outline.lines | row.lines)
            if row.space.values or row.space.expression is not None:
                yield from self._swept(row)
            else:
                yield Produced(row.line, row.values, row.extra or None, None, row.template, row.key)
        self._faults.places = Places({})
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
        self._faults.places = Places({})
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
        checked = self._checked(row, axes) if self._fits(row, axes) else None
        if checked is None:
            return
        lines = {name: found.line for name, found in row.space.values.items()}
        self._faults.places = Places(self._outline.lines | row.lines | lines, row.space.values)
        make = _Maker(row._replace(values=_with_pipeline(row, checked)))
        with_ids = "id" in row.values or "id" in row.space.values
        if make.own or with_ids:
            for number, found in _numbered(axes, with_ids):
                yield make.record(number, found)
            return
        # Most sweeps are so plain, and this runs once a row.
        line, values, extra, template, key = row.line, make.row.values, row.extra or None, row.template, row.key
        for _, found in _numbered(axes, False):
            yield Produced(line, values | found, extra, found, template, key)

    def _fits(self, row: _Row, axes: list[Axis]) -> bool:
        count = 1
        for axis in axes:
            count *= axis.length
        self._made += count
        if self._made > self._most:
            message = (
                f"more than {self._most:,} rows, {self._made:,} up to here: split the manifest (or manifest.max_rows)"
            )
            self._faults.add(row.line, message)
            return False
        return True

    def _checked(self, row: _Row, axes: list[Axis]) -> RowBase | None:
        """Try every value once, beside the first of all other axes. One of the rows; None where one has a fault."""
        make = _Maker(row)
        first = {name: value for axis in axes for name, value in zip(axis.names, next(iter(axis)), strict=True)}
        if not axes:  # the row has a value of its own for all of them
            only = make.record("", first)
            return self._accepts(only.line, only.values, only.extra)
        found: list[RowBase | None] = []
        for axis in axes:
            for at, step in enumerate(islice(axis, _CHECKED_OF_AN_AXIS)):  # the rest are checked row by row
                record = make.record("", first | dict(zip(axis.names, step, strict=True)))
                self._faults.places = Places(self._outline.lines | row.lines | _lines_at(row.space, axis, at))
                found.append(self._accepts(record.line, record.values, record.extra))
        return None if None in found else found[0]


def _with_pipeline(row: _Row, checked: RowBase) -> dict[str, Any]:
    """The row's values with the pipeline that they mean, where no value of its space can change it."""
    pipeline = getattr(checked, "pipeline", None)
    if pipeline != "txt2img" or not _DECIDE_PIPELINE.isdisjoint(row.space.values):
        return row.values
    return row.values | {"pipeline": pipeline}


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
        self.row = row
        self.own = row.space.own

    def record(self, number: str, found: dict[str, Any]) -> Produced:
        """The record of one combination. `number` tells it from the others in its id."""
        row, own = self.row, self.own
        if own:
            extra = row.extra | {name: value for name, value in found.items() if name in own}
            values = row.values | {name: value for name, value in found.items() if name not in own}
        else:
            extra, values = row.extra, row.values | found
        row_id = values.get("id")
        if row_id is not None:
            values["id"] = f"{row_id}{number}"
        coordinates = found if "id" not in found else {name: found[name] for name in found if name != "id"}
        return Produced(row.line, values, extra or None, coordinates, row.template, row.key)


def _numbered(axes: list[Axis], with_ids: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every combination with its number, `-0-3-1`: its step on every axis, from 0, padded to sort.

    An axis that gives ids itself has no number: its ids tell its steps apart. Without ids there are none.
    """
    if not axes:
        yield "", {}
        return
    *outer, last = axes
    names = last.names
    name = names[0] if len(names) == 1 else None
    width = len(str(last.length - 1)) if with_ids and "id" not in names else 0
    for number, found in _numbered(outer, with_ids):
        for at, step in enumerate(last):
            own = f"{number}-{at:0{width}d}" if width else number
            if name is not None:
                yield own, {**found, name: step[0]}
            else:
                yield own, found | dict(zip(names, step, strict=True))
