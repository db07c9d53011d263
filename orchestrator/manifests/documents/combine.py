"""Combination expressions: how the names of a parameter space make rows.

The grammar and its meaning are those of OpenJobDescription (2023-09, "CombinationExpr"):

```
expression  ::= element ("*" element)*            every combination; the last varies fastest
element     ::= name | "(" expression ("," expression)* ")"      together, one value each; equally many
```
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NoReturn

LONGEST = 2000
_DEEPEST = 16
_TOKEN = re.compile(r"\s*([(),*]|[^\s(),*]+)")


class BadCombination(ValueError):
    """The expression cannot be used; says why."""


class Axis:
    """One or more names that take their values together: `length` steps, each a value for every name."""

    def __init__(self, names: tuple[str, ...], length: int, steps: Callable[[], Iterator[tuple[Any, ...]]]) -> None:
        self.names = names
        self.length = length
        self._steps = steps

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The values of its names, step by step; memory holds one step."""
        return self._steps()


class Expression:
    """A parsed expression: a name, a product of expressions, or expressions that go together."""

    def __init__(self, kind: str, parts: tuple["Expression", ...] = (), name: str = "") -> None:
        self.kind = kind
        self.parts = parts
        self.name = name

    def names(self) -> list[str]:
        """Every name in it, from left to right."""
        return [self.name] if self.kind == "name" else [name for part in self.parts for name in part.names()]

    def renamed(self, rename: Callable[[str], str]) -> "Expression":
        """The same expression in other names."""
        return Expression(self.kind, tuple(part.renamed(rename) for part in self.parts), rename(self.name))

    def without(self, names: Set[str]) -> "Expression | None":
        """The expression with these names taken out; None where nothing is left."""
        if self.kind == "name":
            return None if self.name in names else self
        parts = tuple(left for part in self.parts if (left := part.without(names)) is not None)
        return Expression(self.kind, parts) if parts else None

    def __str__(self) -> str:
        if self.kind == "name":
            return self.name
        texts = [str(part) for part in self.parts]
        return " * ".join(texts) if self.kind == "product" else f"({', '.join(texts)})"


def product_of(parts: Sequence[Expression]) -> Expression:
    """Every combination of these."""
    return Expression("product", tuple(parts))


def name_of(name: str) -> Expression:
    """The expression of one name."""
    return Expression("name", name=name)


def parse_combination(text: str) -> Expression:
    """Parse a combination expression. The outermost is always a product.

    Raises:
        BadCombination: it is none.
    """
    if len(text) > LONGEST:
        raise BadCombination(f"longer than {LONGEST:,} characters")
    parser = _Parser(text)
    found = parser.product(1)
    if parser.next:
        parser.expected("* and another name")
    names = found.names()
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadCombination(f"{twice[0]} stands twice in it")
    return found


def axes_of(expression: Expression, values: Mapping[str, Sequence[Any]]) -> list[Axis]:
    """The axes of a space, the slowest first.

    Raises:
        BadCombination: what stands in one pair of parentheses is not equally many.
    """
    parts = expression.parts if expression.kind == "product" else (expression,)
    return [_axis(part, values) for part in parts]


def _axis(expression: Expression, values: Mapping[str, Sequence[Any]]) -> Axis:
    if expression.kind == "name":
        found = values[expression.name]
        return Axis((expression.name,), len(found), lambda: ((value,) for value in found))
    axes = [_axis(part, values) for part in expression.parts]
    names = tuple(name for axis in axes for name in axis.names)
    if expression.kind == "product":
        length = 1
        for axis in axes:
            length *= axis.length
        return Axis(names, length, lambda: product(axes))
    lengths = [axis.length for axis in axes]
    if len(set(lengths)) > 1:
        told = ", ".join(f"{part} {length:,}" for part, length in zip(expression.parts, lengths, strict=True))
        raise BadCombination(f"what goes together must have equally many values: {told}")
    return Axis(names, lengths[0], lambda: (sum(steps, ()) for steps in zip(*axes, strict=True)))


def product(axes: Sequence[Axis]) -> Iterator[tuple[Any, ...]]:
    """Every combination, the last axis fastest. Holds one step of each axis, as `itertools.product` does not."""
    if not axes:
        yield ()
        return
    *outer, last = axes
    for before in product(outer):
        for step in last:
            yield before + step


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._at = 0

    @property
    def next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def product(self, depth: int) -> Expression:
        parts = [self._element(depth)]
        while self.next == "*":
            self._at += 1
            parts.append(self._element(depth))
        return product_of(parts)

    def _element(self, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise BadCombination(f"nested more than {_DEEPEST} levels deep")
        found = self.next
        if found == "(":
            return self._together(depth)
        if not found or found in "),*":
            self.expected("a name or (")
        self._at += 1
        return name_of(found)

    def _together(self, depth: int) -> Expression:
        parts: list[Expression] = []
        while not parts or self.next == ",":
            self._at += 1
            part = self.product(depth + 1)
            parts.append(part.parts[0] if len(part.parts) == 1 else part)
        if self.next != ")":
            self.expected("a comma or )")
        self._at += 1
        return Expression("together", tuple(parts))

    def expected(self, what: str) -> NoReturn:
        found = f"found {self.next[:40]}" if self.next else "found its end"
        raise BadCombination(f"expected {what}, {found}: names are combined as in a * b, or (a, b) * c")
