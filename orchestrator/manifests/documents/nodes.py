"""Nodes: the values of a document, each with its line."""

from collections.abc import Mapping
from typing import Any

from schemas.errors import PromptmillError

Scalar = str | int | float | bool | None


class Broken(PromptmillError):
    """The document cannot be read beyond this point."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


class Node:
    """A value and the line it stands on, from 1. `height` is 0 for a scalar, else levels of nesting below and with it.

    Immutable by agreement: aliases of one anchor share it.
    """

    __slots__ = ("height", "line", "value")

    def __init__(self, line: int, value: "Scalar | dict[str, Node] | list[Node]", height: int = 0) -> None:
        self.line = line
        self.value = value
        self.height = height

    def plain(self) -> Any:
        """The value without lines."""
        value = self.value
        if isinstance(value, dict):
            return {name: node.plain() for name, node in value.items()}
        return [node.plain() for node in value] if isinstance(value, list) else value


def height_of(nodes: Mapping[str, Node] | list[Node]) -> int:
    """The height of a collection of these."""
    children = nodes.values() if isinstance(nodes, Mapping) else nodes
    return 1 + max((node.height for node in children), default=0)


class Budget:
    """Counts nodes against a limit, those behind aliases each time they are meant.

    Args:
        most: nodes.
        nesting: levels.
    """

    def __init__(self, most: int, nesting: int) -> None:
        self._most = most
        self._nesting = nesting
        self.used = 0

    def take(self, line: int, count: int = 1) -> None:
        """Raises:
        Broken: more nodes than allowed.
        """
        self.used += count
        if self.used > self._most:
            remedy = "write so many rows as JSON Lines, an object a line"
            raise Broken(line, f"more than {self._most:,} values, those behind aliases counted each time: {remedy}")

    def descend(self, line: int, depth: int) -> None:
        """Raises:
        Broken: nested deeper than allowed.
        """
        if depth > self._nesting:
            raise Broken(line, f"nested more than {self._nesting} levels deep")
