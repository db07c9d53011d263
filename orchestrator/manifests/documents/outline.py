"""The parts of a document: defaults, space, combine, template, rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from orchestrator.manifests.columns import Columns
from orchestrator.manifests.documents.json_nodes import JsonText
from orchestrator.manifests.documents.nodes import Broken, Node
from orchestrator.manifests.documents.space import ParameterSpace, check_alone, named, read_space
from orchestrator.manifests.documents.yaml_nodes import yaml_root
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.foreign import translated
from orchestrator.manifests.names import COLUMN_FIELDS, near_name
from orchestrator.manifests.options import ReadLimits
from schemas.document import SCHEMA_KEY, Document

KEYS = tuple(Document.model_fields)


@dataclass(frozen=True)
class Outline:
    """A document, taken apart. `rows` is read as it is iterated, and can be once."""

    defaults: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    """Columns of the user's own that every row has."""
    lines: dict[str, int] = field(default_factory=dict)
    """Where the defaults stand."""
    space: ParameterSpace = field(default_factory=lambda: ParameterSpace({}))
    template: Node | None = None
    rows: Iterator[Node] = field(default_factory=lambda: iter(()))


def read_outline(
    text: str, file_format: Literal["yaml", "json"], columns: Columns, limits: ReadLimits, faults: Faults
) -> Outline | None:
    """Take a document apart. What is wrong with it is a fault; None where nothing can be done with it."""
    try:
        if file_format == "json":
            source = JsonText(text, faults, most_nodes=limits.document_values, nesting=limits.nesting)
            if source.is_list:
                return Outline(rows=_until_broken(source.items, faults))
            root: Node | None = source.root()
        else:
            root = yaml_root(text, faults, most_nodes=limits.document_values, nesting=limits.nesting)
    except Broken as error:
        faults.add(error.line, error.message)
        return None
    if root is None:
        return Outline()
    if isinstance(root.value, list):
        return Outline(rows=iter(root.value))
    if not isinstance(root.value, dict):
        faults.add(root.line, f"expected a list of rows, or a document with {', '.join(KEYS)}")
        return None
    return _document(root, root.value, columns, faults)


def _until_broken(items: Callable[[], Iterator[Node]], faults: Faults) -> Iterator[Node]:
    try:
        yield from items()
    except Broken as error:
        faults.add(error.line, error.message)


def _document(root: Node, parts: dict[str, Node], columns: Columns, faults: Faults) -> Outline:
    for name, node in parts.items():
        if name not in (*KEYS, SCHEMA_KEY):
            faults.add(node.line, _unknown_key(name), field=name)
    parts = {name: node for name, node in parts.items() if node.value is not None}
    defaults, extra, lines = _defaults(parts.get("defaults"), columns, faults)
    space = read_space(parts.get("space"), parts.get("combine"), columns, faults)
    check_alone(space, faults)
    template = parts.get("template")
    if "template" in defaults:
        given = defaults.pop("template")
        if template is not None:
            faults.add(template.line, "the defaults have one already", field="template")
        else:
            template = Node(lines["template"], given)
    return Outline(defaults, extra, lines, space, template, _rows(root, parts, space, faults))


def _unknown_key(name: str) -> str:
    if name in COLUMN_FIELDS:
        return "a field stands in a row, under rows, or for all rows under defaults"
    near = near_name(name, list(KEYS))
    return f"did you mean {near}?" if near else f"no part of a document; its parts are {', '.join(KEYS)}"


def _defaults(
    node: Node | None, columns: Columns, faults: Faults
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """Defaults of fields, of columns of the user's own, and the lines of both."""
    if node is None:
        return {}, {}, {}
    if not isinstance(node.value, dict):
        faults.add(node.line, "expected fields and their values, such as model: sd15", field="defaults")
        return {}, {}, {}
    fields, own = named(node.value, columns, faults)
    if "id" in fields:
        faults.add(fields.pop("id")[1].line, "an id names one row; give it in the row", field="id")
    values = {name: found.plain() for name, (_, found) in fields.items()}
    given = translated({name: value for name, value in values.items() if value is not None})
    lines = {name: found.line for name, (_, found) in (fields | own).items()}
    return given, {name: found.plain() for name, (_, found) in own.items()}, lines


def _rows(root: Node, parts: dict[str, Node], space: ParameterSpace, faults: Faults) -> Iterator[Node]:
    rows = parts.get("rows")
    if rows is None:
        if space.values:
            # Defaults and space say everything: the grid over one prompt.
            return chain([Node(root.line, {})])
        faults.add(root.line, "no rows: list them under rows, or give a space", field="rows")
        return iter(())
    if not isinstance(rows.value, list):
        faults.add(rows.line, "expected a list of rows", field="rows")
        return iter(())
    return iter(rows.value)
