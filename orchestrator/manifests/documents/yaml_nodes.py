"""YAML text -> nodes with their lines, made from the parser's events: nothing is ever constructed by a tag.

Plain scalars mean what YAML 1.2 (core schema) says: `no`, `on` and `12:30` are text, and dates too. A number with a
leading zero stays text as well, so that the id 007 keeps its zeros.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from orchestrator.manifests.documents.nodes import Broken, Budget, Node, Scalar, height_of
from orchestrator.manifests.faults import Faults, shorten

_PREFIX = "tag:yaml.org,2002:"
_TAGS = {None, "!", f"{_PREFIX}str", f"{_PREFIX}map", f"{_PREFIX}seq"}
_CONSTANTS: dict[str, Scalar] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,16}|0o[0-7]{1,21}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_HINTS = {
    "mapping values are not allowed": "a text with a colon and a blank in it stands in quotes",
    "could not find expected ':'": "a text over several lines begins with | or > on the line of its key",
    "cannot start any token": "a text that begins with this character stands in quotes",
    "did not find expected key": "look at the indentation, and at quotes in the line above",
}


def yaml_root(text: str, faults: Faults, *, most_nodes: int, nesting: int) -> Node | None:
    """The one document of a YAML text; None where there is none.

    Raises:
        Broken: it is not YAML, has a tag or an alias that is not accepted, or is more than allowed.
    """
    composer = _Composer(text, faults, Budget(most_nodes, nesting))
    try:
        return composer.root()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Broken(composer.line_of(mark) if mark else None, _syntax(error)) from None
    except yaml.reader.ReaderError as error:
        position = error.position if isinstance(error.position, int) else 0
        line = text.encode()[:position].count(b"\n") + 1
        raise Broken(line, f"not valid YAML: {error.reason}, near this line") from None
    except yaml.YAMLError as error:
        raise Broken(None, f"not valid YAML: {shorten(str(error))}") from None


class _Composer:
    def __init__(self, text: str, faults: Faults, budget: Budget) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self._faults = faults
        self._budget = budget
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._last_line = text.count("\n") + 1

    def line_of(self, mark: Any) -> int:
        """The line of a mark; what is missing at the end is looked for one line later."""
        return min(int(mark.line) + 1, self._last_line)

    def root(self) -> Node | None:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        node = self._node(next(self._events), 1)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise Broken(self.line_of(event.start_mark), "a second document begins here (---): a manifest is one")
        return node

    def _node(self, event: Any, depth: int) -> Node:
        line = self.line_of(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line, depth)
        if event.tag not in _TAGS:
            name = shorten(str(event.tag).replace(_PREFIX, "!!"))
            raise Broken(line, f"the tag {name} is not accepted: only plain values are")
        before = self._budget.used
        self._budget.take(line)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(line, _scalar(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(line, depth)
        else:
            node = self._mapping(line, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._budget.used - before)
        return node

    def _alias(self, event: Any, line: int, depth: int) -> Node:
        if event.anchor not in self._anchors:
            raise Broken(line, f"*{shorten(event.anchor)}: no such anchor is complete above this line")
        node, size = self._anchors[event.anchor]
        self._budget.take(line, size)
        self._budget.descend(line, depth + node.height - 1)
        return node

    def _sequence(self, line: int, depth: int) -> Node:
        self._budget.descend(line, depth)
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(line, items, height_of(items))

    def _mapping(self, line: int, depth: int) -> Node:
        self._budget.descend(line, depth)
        found: dict[str, Node] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key_line = self.line_of(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent) or event.tag not in _TAGS:
                raise Broken(key_line, "a key must be text")
            node = self._node(next(self._events), depth + 1)
            if event.value == "<<" and not event.style:
                merged.append(node)
                continue
            if event.value in found:
                self._faults.add(key_line, "the key stands twice in the mapping", field=event.value)
            found.setdefault(event.value, node)
        for node in merged:
            self._merge(found, node)
        return Node(line, found, height_of(found))

    def _merge(self, into: dict[str, Node], node: Node) -> None:
        """`<<: *anchor`: what the mapping does not have itself."""
        for part in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(part.value, dict):
                raise Broken(node.line, "<< takes a mapping, or a list of them")
            for key, value in part.value.items():
                into.setdefault(key, value)


def _scalar(event: Any) -> Scalar:
    text: str = event.value
    if event.style or event.tag is not None:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "unreadable"
    hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
    column = f", at character {error.problem_mark.column + 1}" if error.problem_mark else ""
    return f"not valid YAML: {problem}{column}" + (f"; {hint}" if hint else "")
