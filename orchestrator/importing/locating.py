"""Inputs of a row: from `sha256:HEX`, as an image names them, to files, as a manifest does."""

import re
from collections.abc import Callable
from typing import Any

from orchestrator.importing.own import ADDRESS

_BY_CONTENT = re.compile(ADDRESS + "[0-9a-f]{64}")
_FIELDS = frozenset({"image", "mask"})


def with_files(row: dict[str, Any], find: Callable[[str], str | None]) -> dict[str, Any]:
    """The row with the address that `find` has for each input, in stages as well; None leaves it as it is.

    Args:
        find: sha256 -> address.
    """
    return {name: _located(name, value, find) for name, value in row.items()}


def _located(name: str, value: Any, find: Callable[[str], str | None]) -> Any:
    if isinstance(value, list):
        return [with_files(inner, find) if isinstance(inner, dict) else inner for inner in value]
    if name in _FIELDS and isinstance(value, str) and _BY_CONTENT.fullmatch(value):
        return find(value.removeprefix(ADDRESS)) or value
    return value
