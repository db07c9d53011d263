"""JSON Lines: one object a line."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from orchestrator.manifests.columns import ColumnPlan, Columns
from orchestrator.manifests.faults import Faults, shorten
from orchestrator.manifests.options import ReadLimits
from orchestrator.manifests.source import Line, Record, not_utf8


def jsonl_records(lines: Iterable[Line], columns: Columns, limits: ReadLimits, faults: Faults) -> Iterator[Record]:
    """One record a line; blank lines are skipped. What is wrong with a line is a fault, and the line left out."""
    for line, text in lines:
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            if text.strip():
                faults.add(line, _syntax(text, error), kind="not JSON")
            continue
        if type(row) is not dict:
            faults.add(line, f'expected an object such as {{"prompt": "a cat"}}, found {_kind(row)}', kind="no object")
            continue
        if not _is_sound(line, text, row, limits, faults):
            continue
        plan = columns.plan(tuple(row))
        if plan.plain:
            yield line, row, None
        else:
            values, extra = _split(line, row, plan, faults)
            yield line, values, extra
    columns.report_unseen(None, faults)


def _split(line: int, row: dict[str, Any], plan: ColumnPlan, faults: Faults) -> tuple[dict[str, Any], dict[str, Any]]:
    for problem in plan.problems:
        faults.add(line, problem.message, field=shorten(problem.column))
    if plan.unnamed:
        faults.add(line, "a key without a name", value=row[""])
    values = {field: row[column] for _, column, field in plan.fields}
    extra = {column: row[column] for _, column in plan.extra}
    nested = extra.get("extra")
    if type(nested) is dict:
        # `extra` is the name of our own collection of such columns: our results, given back, stay what they were.
        del extra["extra"]
        extra |= nested
    return values, extra


def _is_sound(line: int, text: bytes, row: dict[str, Any], limits: ReadLimits, faults: Faults) -> bool:
    """What a parser lets pass: keys given twice, and nesting that no reader of the results could follow.

    Counting in the text finds the few lines that need a closer look.
    """
    if text.count(b'":') != len(row):
        twice = _keys_given_twice(text, row)
        for key in twice:
            faults.add(line, "the key stands twice in the object", field=shorten(key))
        if twice:
            return False
    if text.count(b"{") + text.count(b"[") > limits.nesting and _depth(row) > limits.nesting:
        faults.add(line, f"nested more than {limits.nesting} levels deep")
        return False
    return True


def _keys_given_twice(text: bytes, row: dict[str, Any]) -> list[str]:
    if all(text.count(orjson.dumps(key)) == 1 for key in row):
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
