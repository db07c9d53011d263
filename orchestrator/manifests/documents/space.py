"""Parameter spaces: of a document, of a row, and of both together.

A row's value keeps a name out of the document's space; a row's own space adds names, and gives those that the
document has already other values.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from orchestrator.manifests.columns import Columns
from orchestrator.manifests.documents.combine import (
    Axis,
    BadCombination,
    Expression,
    axes_of,
    name_of,
    parse_combination,
    product_of,
)
from orchestrator.manifests.documents.nodes import Node
from orchestrator.manifests.documents.ranges import MOST_HELD, NoRange, is_range, read_range
from orchestrator.manifests.faults import Faults
from schemas.rows import ROW_TYPES
from schemas.samplers import scheduler_called

_EXPECTED = "expected a list of values, or a range such as 1-10"


@dataclass(frozen=True)
class Values:
    """What a name of a space takes. `lines` has a line for every value; None: all stand on `line`."""

    items: Sequence[Any]
    line: int
    lines: Sequence[int] | None = None

    def line_of(self, at: int) -> int:
        """The line of a value."""
        return self.line if self.lines is None else self.lines[at]

    def line_with(self, value: Any) -> int:
        """The first line on which a value stands."""
        return self._line_by_value.get(_hashable(value), self.line)

    @cached_property
    def _line_by_value(self) -> dict[Hashable, int]:
        if self.lines is None or self.lines[0] == self.lines[-1]:
            return {}
        # What stands there twice keeps the first of its lines.
        return dict(zip(map(_hashable, reversed(self.items)), reversed(self.lines), strict=True))


def _hashable(value: Any) -> Hashable:
    return repr(value) if isinstance(value, list | dict) else value


@dataclass(frozen=True)
class ParameterSpace:
    """Names, in the order in which they were written, and how they are combined. None: every combination."""

    values: Mapping[str, Values]
    own: frozenset[str] = frozenset()
    """Names that are no field: columns of the user's own."""
    expression: Expression | None = None
    line: int = 0
    """Of the expression."""
    refused: frozenset[str] = frozenset()
    """Names whose values cannot be used. The expression goes without them: its faults would be theirs."""

    def with_row(self, row: "ParameterSpace", given: set[str]) -> "ParameterSpace":
        """The space of a row that has one of its own, and gives these names itself."""
        pinned = given & set(self.values)
        values = {name: found for name, found in self.values.items() if name not in pinned} | dict(row.values)
        own = (self.own | row.own) & set(values)
        refused = (self.refused - given | row.refused) - set(values)
        if row.expression is not None:
            return ParameterSpace(values, own, row.expression.without(refused), row.line, refused)
        expression = self.expression
        if expression is not None:
            left = expression.without(pinned)
            added = [name_of(name) for name in row.values if name not in self.values]
            parts = left.parts if left is not None and left.kind == "product" else ((left,) if left else ())
            expression = product_of([*parts, *added])
        return ParameterSpace(values, own, expression, self.line, refused)

    def axes(self) -> list[Axis]:
        """The axes, the slowest first.

        Raises:
            BadCombination: the expression leaves a name out or has another, or what goes together is not equally many.
        """
        if self.expression is not None:
            _check_names(self.expression, self.values)
        expression = self.expression or product_of([name_of(name) for name in self.values])
        return axes_of(expression, {name: found.items for name, found in self.values.items()})


def read_space(space: Node | None, combine: Node | None, columns: Columns, faults: Faults) -> ParameterSpace:
    """A space as it was written. What is wrong with it is a fault, and left out."""
    line = space.line if space is not None else 0
    mapping = space.value if space is not None else None
    if mapping is not None and not isinstance(mapping, dict):
        faults.add(line, "expected names and their values, such as seed: 1-5", field="space")
        mapping = None
    fields, own = named(mapping or {}, columns, faults)
    names = {column: name for name, (column, _) in (fields | own).items()}
    found = {}
    for column, node in (mapping or {}).items():
        if column in names:
            values = read_values(names[column], node, faults)
            if values is not None:
                found[names[column]] = values
    refused = frozenset(names.values()) - set(found)
    expression = None if combine is None else _expression(combine, names, faults)
    if expression is not None:
        expression = expression.without(refused)
    return ParameterSpace(found, frozenset(own) & set(found), expression, combine.line if combine else line, refused)


def check_alone(space: ParameterSpace, faults: Faults) -> None:
    """What can be said of a document's expression before its rows: every name in it, and equally many together."""
    try:
        space.axes()
    except BadCombination as error:
        faults.add(space.line, str(error), field="combine")


def named(
    mapping: Mapping[str, Node], columns: Columns, faults: Faults
) -> tuple[dict[str, tuple[str, Node]], dict[str, tuple[str, Node]]]:
    """Fields, and columns of the user's own: name -> (as it was written, its node)."""
    plan = columns.plan(tuple(mapping))
    for problem in plan.problems:
        faults.add(mapping[problem.column].line, problem.message, field=problem.column)
    for _ in plan.unnamed:
        faults.add(mapping[""].line, "a key without a name")
    fields = {field: (column, mapping[column]) for _, column, field in plan.fields}
    return fields, {column: (column, mapping[column]) for _, column in plan.extra}


def read_values(name: str, node: Node, faults: Faults) -> Values | None:
    """The values of one name; None where they cannot be used, which is a fault."""
    value = node.value
    if isinstance(value, list):
        return _listed(name, node, value, faults)
    if isinstance(value, str):
        try:
            return Values(read_range(value), node.line)
        except NoRange as error:
            faults.add(node.line, str(error), field=name, value=value)
            return None
    if value is None or isinstance(value, dict):
        faults.add(node.line, _EXPECTED, field=name, value=None if value is None else {})
        return None
    return Values([value], node.line)


def _in_our_words(name: str, value: Any) -> Any:
    """Coordinates tell the name that the results tell: `euler_a`, whichever tool's name was written."""
    return (scheduler_called(value) or value) if name == "scheduler" and isinstance(value, str) else value


def _listed(name: str, node: Node, items: list[Node], faults: Faults) -> Values | None:
    found: list[Any] = []
    lines: list[int] = []
    ranges = name in _number_fields()
    for item in items:
        values: Sequence[Any] = [_in_our_words(name, item.plain())]
        if ranges and isinstance(item.value, str) and is_range(item.value):
            try:
                values = read_range(item.value)
            except NoRange as error:
                faults.add(item.line, str(error), field=name, value=item.value)
                return None
        if len(found) + len(values) > MOST_HELD:
            faults.add(item.line, f"more than {MOST_HELD:,} values", field=name)
            return None
        found += values
        lines += [item.line] * len(values)
    if not found:
        faults.add(node.line, "no values: the space would have no rows", field=name)
        return None
    return Values(found, node.line, lines)


def _expression(combine: Node, names: Mapping[str, str], faults: Faults) -> Expression | None:
    if not isinstance(combine.value, str):
        faults.add(combine.line, "expected an expression such as a * b, or (a, b) * c", field="combine")
        return None
    try:
        return parse_combination(combine.value).renamed(lambda name: names.get(name, name))
    except BadCombination as error:
        faults.add(combine.line, str(error), field="combine", value=combine.value)
        return None


def _check_names(expression: Expression, values: Mapping[str, Values]) -> None:
    mentioned = set(expression.names())
    unknown = sorted(mentioned - set(values))
    if unknown:
        there = ", ".join(values) or "none"
        raise BadCombination(f"{unknown[0]} has no values in the space; the names to combine are: {there}")
    missing = [name for name in values if name not in mentioned]
    if missing:
        raise BadCombination(f"{missing[0]} is not in the expression: add * {missing[0]}, or (..., {missing[0]})")


@cache
def _number_fields() -> frozenset[str]:
    """Fields that take numbers, read from the schemas."""
    found = set()
    for row in ROW_TYPES.values():
        for name, node in row.model_json_schema()["properties"].items():
            kinds = {node.get("type"), *(part.get("type") for part in node.get("anyOf", ()))}
            if kinds & {"integer", "number"}:
                found.add(name)
    return frozenset(found)
