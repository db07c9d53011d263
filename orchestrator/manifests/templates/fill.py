"""`template: fill`: `{name}` in a prompt is the row's own column of that name."""

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.manifests.faults import shorten
from orchestrator.manifests.names import near_name

_MARK = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BRACES = {"{{": "{", "}}": "}"}


class BadTemplate(ValueError):
    """The template cannot be used; says why."""


def filled(text: str, columns: Mapping[str, Any]) -> str:
    """The text with its names replaced. `{{` and `}}` are braces.

    Raises:
        BadTemplate: a name that no column has, one without a value, or a brace alone.
    """

    def value_of(mark: re.Match[str]) -> str:
        if mark[0] in _BRACES:
            return _BRACES[mark[0]]
        if mark[1] is None:
            raise BadTemplate(f"{mark[0]} alone: a brace is written twice, {mark[0] * 2}")
        return _as_text(mark[1].strip(), columns)

    return _MARK.sub(value_of, text)


def _as_text(name: str, columns: Mapping[str, Any]) -> str:
    value = columns.get(name)
    if isinstance(value, str):
        return value
    if value is None:
        if name in columns:
            raise BadTemplate(f"{{{shorten(name)}}} has no value in this row")
        near = near_name(name, list(columns))
        remedy = f"did you mean {{{near}}}?" if near else "braces that are text are written twice, {{ and }}"
        raise BadTemplate(f"{{{shorten(name)}}} is no column of your own, in the row or its space: {remedy}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise BadTemplate(f"{{{shorten(name)}}} is {shorten(value)}: expected text or a number")
