"""Columns of the user's own, laid beside ours without covering them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

# Columns that a table can get from the users' own; a manifest whose rows invent names keeps them in `extra` alone.
MAX_COLUMNS = 200
_INT64 = range(-(2**63), 2**63)


def column_name(name: str, taken: set[str]) -> str:
    """A name for a user's column that no name in `taken` (case-folded, as DuckDB compares) covers; it is added."""
    free = name if name.strip() and name.casefold() not in taken else f"extra_{name}"
    number = 2
    while free.casefold() in taken:
        free = f"extra_{name}_{number}"
        number += 1
    taken.add(free.casefold())
    return free


def flattened(extra: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
    """A row's own columns by names that do not cover ours: `status` becomes `extra_status`."""
    taken = {name.casefold() for name in ours}
    return {column_name(name, taken): value for name, value in extra.items()}


class ExtraColumns:
    """Which columns of the user's own a table needs, and of which type, learned from all of its rows."""

    def __init__(self) -> None:
        self._kinds: dict[str, set[str]] = {}

    def learn(self, extra: Mapping[str, Any]) -> None:
        """Take a row's columns into account."""
        for name, value in extra.items():
            if name in self._kinds or len(self._kinds) < MAX_COLUMNS:
                kinds = self._kinds.setdefault(name, set())
                if value is not None:
                    kinds.add(_kind(value))

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def added_to(self, table: pa.Table, ours: Iterable[str]) -> pa.Table:
        """The table with a column for each name; values come from its column `extra` (JSON)."""
        taken = {name.casefold() for name in ours}
        rows = [json.loads(text) if text else {} for text in table.column("extra").to_pylist()]
        for name, kinds in self._kinds.items():
            kind = _common(kinds)
            values = [_as(kind, row.get(name)) for row in rows]
            table = table.append_column(column_name(name, taken), pa.array(values, _TYPES[kind]))
        return table


_TYPES = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if value in _INT64 else "text"
    return "float" if isinstance(value, float) else "text"


def _common(kinds: set[str]) -> str:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "float" if kinds == {"int", "float"} else "text"


def _as(kind: str, value: Any) -> Any:
    if value is None or kind in ("bool", "int"):
        return value
    if kind == "float":
        return float(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
