"""JSON Lines: one object a line."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from orchestrator.manifests.columns import MOST_COLUMNS, ColumnPlan, Columns
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.options import ReadLimits
from orchestrator.manifests.source import Line, Record, not_utf8

# Columns of a user's own that are looked into.
_NEED_A_LOOK = frozenset({"extra", "space"})
# The first number that orjson makes a float of, although it is a whole one; and what may be one in a nested value.
_BEYOND = 2.0**63
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def jsonl_records(lines: Iterable[Line], columns: Columns, limits: ReadLimits, faults: Faults) -> Iterator[Record]:
    """One record a line; blank lines are skipped. What is wrong with a line is a fault, and the line left out."""
    most = limits.nesting
    for line, text in lines:
        if not text:
            continue  # an error of the parser for each of millions of empty lines would take minutes
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if text.strip():
                faults.add(line, _syntax(text, error), kind="not JSON")
            continue
        if type(row) is not dict:
            faults.add(line, f'expected an object such as {{"prompt": "a cat"}}, found {_kind(row)}', kind="no object")
            continue
        # Counting in the text finds the few lines that need a closer look.
        if text.count(b'":') != len(row) and not _keys_are_single(line, text, row, faults):
            continue
        nested = text.find(b"{", 1) > 0 or b"[" in text
        if nested and text.count(b"{") + text.count(b"[") > most and _depth(row) > most:
            faults.add(line, f"nested more than {most} levels deep")
            continue
        if len(row) > MOST_COLUMNS:
            faults.add(line, f"{len(row):,} keys; at most {MOST_COLUMNS:,} are accepted", kind="too many keys")
            continue
        plan = columns.plan(tuple(row))
        for column in plan.verbatim:
            kind = type(row[column])
            if kind is not str and kind is not int and _may_have_lost_digits(row[column], text):
                row = json.loads(text)  # five times slower, and exact
                break
        if plan.plain:
            yield line, row, None
        elif plan.direct and not plan.problems and _NEED_A_LOOK.isdisjoint(row):
            # Taking the few columns out is much cheaper than copying all others.
            yield line, row, {column: row.pop(column) for _, column in plan.extra}
        else:
            values, extra = _split(line, row, plan, faults)
            yield line, values, extra
    columns.finish(faults)


def _split(line: int, row: dict[str, Any], plan: ColumnPlan, faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
    for problem in plan.problems:
        faults.add(line, problem.message, field=problem.column)
    if plan.unnamed:
        faults.add(line, "a key without a name", value=row[""])
    extra = {column: row.pop(column) for _, column in plan.extra}
    values = row if plan.direct else {field: row[column] for _, column, field in plan.fields}
    if type(extra.get("space")) is dict:
        message = "kept as a column of your own: a parameter space counts in a document (.yaml, .json)"
        faults.warn(line, message, field="space", value={})
    nested = extra.get("extra")
    if type(nested) is dict:
        # `extra` is the name of our own collection of such columns: our results, given back, stay what they were.
        del extra["extra"]
        extra |= nested
    return values, extra


def _may_have_lost_digits(value: object, text: bytes) -> bool:
    """Whether a value is, or may hold, what was a whole number of more than 64 bits in the line and is a float now."""
    if type(value) is float:
        return not -_BEYOND < value < _BEYOND
    return (type(value) is dict or type(value) is list) and _LONG_NUMBER.search(text) is not None


def _keys_are_single(line: int, text: bytes, row: dict[str, Any], faults: Faults) -> bool:
    """A parser takes the last of a key given twice, and says nothing."""
    twice = _keys_given_twice(text, row)
    for key in twice:
        faults.add(line, "the key stands twice in the object", field=key)
    return not twice


def _keys_given_twice(text: bytes, row: dict[str, Any]) -> list[str]:
    if text.count(b'":') == _keys(row):
        return []
    twice: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in found]
        if len(set(keys)) < len(keys):
            twice.extend(key for key in dict.fromkeys(keys) if keys.count(key) > 1)
        return dict(found)

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return []
    return twice


def _keys(row: dict[str, Any]) -> int:
    """Keys of an object and of all objects in it."""
    keys = len(row)
    inner: list[Any] = [value for value in row.values() if type(value) is dict or type(value) is list]
    while inner:
        value = inner.pop()
        if type(value) is dict:
            keys += len(value)
            value = value.values()
        inner.extend(deeper for deeper in value if type(deeper) is dict or type(deeper) is list)
    return keys


def _depth(row: dict[str, Any]) -> int:
    """Levels of nesting, level by level: deep input must not exhaust the stack."""
    depth = 0
    level: list[Any] = [row]
    while level:
        depth += 1
        inner: list[Any] = []
        for value in level:
            inner.extend(value.values() if isinstance(value, dict) else value)
        level = [value for value in inner if isinstance(value, dict | list)]
    return depth


def _syntax(text: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as broken:
        return not_utf8(text, broken)
    if text.lstrip().startswith(b"[") or text.strip() == b"{":
        return "not one JSON object a line; each row is an object on a line of its own"
    return f"not valid JSON: {error.msg.partition(': line ')[0]} at character {error.pos + 1}"


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    return "a text" if isinstance(value, str) else "a number"
