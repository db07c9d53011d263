"""The stages of a row's line in the plan, fast: what they take from the row is written anew, the rest is shared."""

from dataclasses import dataclass
from typing import Any

import orjson

from schemas.planned import PlannedRow
from schemas.rows import RowBase

# Where a stage gives none, it has the row's.
_INHERITED = ("prompt", "negative_prompt", "seed")


@dataclass(frozen=True, slots=True)
class StageLine:
    """One stage as rows with the same `then` have it in common.

    Attributes:
        inherited: fields that come from the row.
        tail: the rest of its JSON.
    """

    inherited: tuple[str, ...]
    tail: bytes

    def text(self, own: dict[str, Any]) -> bytes:
        """The stage as JSON; `own` holds the row's values of what is inherited, where they are no defaults."""
        values = {name: own[name] for name in self.inherited if name in own}
        return orjson.dumps(values)[:-1] + b"," + self.tail if values else b"{" + self.tail


def stage_lines(row: RowBase, planned: PlannedRow) -> tuple[StageLine, ...]:
    """What rows with this row's `then` have in common; () where they share nothing: masks are inputs of their own."""
    if any(stage.mask is not None for stage in planned.then):
        return ()
    return tuple(_stage_line(dict(given), stage) for given, stage in zip(row.then, planned.then, strict=True))


def _stage_line(given: dict[str, Any], stage: Any) -> StageLine:
    inherited = tuple(name for name in _INHERITED if given[name] is None)
    shared = stage.model_dump_json(exclude_defaults=True, exclude=set(inherited))
    return StageLine(inherited, shared.removeprefix("{").encode())


def then_text(stages: tuple[StageLine, ...], own: dict[str, Any]) -> bytes:
    """The field `then` of a line, with the comma before it."""
    return b',"then":[' + b",".join(stage.text(own) for stage in stages) + b"]"
