"""JSON text -> nodes with their lines. Python's own parser reads scalars; what stands around them is read here.

RFC 8259, and stricter than most parsers: a key given twice, NaN, a number beyond a double and half a surrogate pair
are faults.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from orchestrator.manifests.documents.nodes import Broken, Budget, Node, height_of
from orchestrator.manifests.faults import Faults

_SPACE = re.compile(r"[ \t\n\r]*")


class JsonText:
    """One JSON text, read once from its start to its end.

    Args:
        most_nodes: of the whole text, or, where it is a list that `items` goes through, of each item.
    """

    def __init__(self, text: str, faults: Faults, *, most_nodes: int, nesting: int) -> None:
        self._text = text
        self._faults = faults
        self._most = most_nodes
        self._nesting = nesting
        self._budget = Budget(most_nodes, nesting)
        self._scalar = json.JSONDecoder(parse_constant=_no_constant).raw_decode
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._skip()

    @property
    def is_list(self) -> bool:
        """The text is a list."""
        return self._next() == "["

    def root(self) -> Node:
        """The whole text.

        Raises:
            Broken: it is not JSON, or more than allowed.
        """
        node = self._node(1)
        self._end()
        return node

    def items(self) -> Iterator[Node]:
        """The items of a list, one after the other; memory holds one.

        Raises:
            Broken: it is not JSON, or an item is more than allowed.
        """
        for _ in self._members("[", "]"):
            self._budget = Budget(self._most, self._nesting)
            yield self._node(2)
        self._end()

    def _end(self) -> None:
        self._skip()
        if self._at < len(self._text):
            self._broken("one JSON value was expected, and more follows: an object a line is JSON Lines (.jsonl)")

    def _node(self, depth: int) -> Node:
        line = self._line_here()
        self._budget.take(line)
        mark = self._next()
        if mark == "{":
            return self._object(line, depth)
        if mark == "[":
            self._budget.descend(line, depth)
            items = [self._node(depth + 1) for _ in self._members("[", "]")]
            return Node(line, items, height_of(items))
        return Node(line, self._read_scalar())

    def _object(self, line: int, depth: int) -> Node:
        self._budget.descend(line, depth)
        found: dict[str, Node] = {}
        for _ in self._members("{", "}"):
            key_line = self._line_here()
            if self._next() != '"':
                self._broken("a key in double quotes was expected")
            key = self._read_scalar()
            self._skip()
            if self._next() != ":":
                self._broken("a colon was expected after the key")
            self._at += 1
            self._skip()
            node = self._node(depth + 1)
            if key in found:
                self._faults.add(key_line, "the key stands twice in the object", field=str(key))
            found.setdefault(str(key), node)
        return Node(line, found, height_of(found))

    def _members(self, opening: str, closing: str) -> Iterator[None]:
        """Stops before each member of a collection, and after its end."""
        assert self._next() == opening
        self._at += 1
        self._skip()
        if self._next() == closing:
            self._at += 1
            return
        while True:
            yield
            self._skip()
            mark = self._next()
            self._at += 1
            if mark == closing:
                return
            if mark != ",":
                self._at -= 1
                self._broken(f"a comma or {closing} was expected")
            self._skip()
            if self._next() == closing:
                self._broken(f"a comma before {closing}")

    def _read_scalar(self) -> Any:
        if self._next() in "{[":
            self._broken("a value was expected")
        try:
            value, self._at = self._scalar(self._text, self._at)
        except json.JSONDecodeError as error:
            self._at = max(self._at, min(error.pos, len(self._text)))
            self._broken(error.msg.removesuffix(" at").lower())
        except ValueError as error:
            self._broken(str(error) if isinstance(error, _NotJson) else "a number of too many digits")
        if isinstance(value, float) and not math.isfinite(value):
            self._broken("a number that is too large")
        if isinstance(value, str) and not value.isascii() and _has_half_a_pair(value):
            self._broken("half of a surrogate pair: a character that is none")
        return value

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = max(self._counted_to, self._at)
        return self._line

    def _broken(self, what: str) -> NoReturn:
        column = self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1
        raise Broken(self._line_here(), f"not valid JSON: {what}, at character {column}")


class _NotJson(ValueError):
    """A constant that Python's parser takes and JSON has not."""


def _no_constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is no JSON")


def _has_half_a_pair(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
