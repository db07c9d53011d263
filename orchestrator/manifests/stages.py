"""`then` in a manifest: the stages that go on from a row's images. Their faults name `then[1].strength`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from pydantic_core import ErrorDetails

from orchestrator.manifests.expectations import Expectations
from orchestrator.manifests.foreign import translated
from orchestrator.manifests.names import FOREIGN, field_called, near_field
from schemas.rows import MAX_THEN, STAGE_TYPES, PipelineName, RowBase, stage_field

EXAMPLE = '[{"pipeline": "upscale", "model": "sd-x4-upscaler"}]'
_PIPELINES = ", ".join(STAGE_TYPES)


class StageFault(NamedTuple):
    """What is wrong with `then`: the field as a reader finds it, what was found, and what was expected."""

    field: str
    value: object
    message: str


def given_stages(then: object) -> object:
    """Stages as a manifest gives them, in our words.

    What is null is left out, as a column of lists has every field in each; other tools' names are taken as in rows.

    Raises:
        ValueError: as of `parse_then`.
    """
    stages = parse_then(then) if isinstance(then, str) else then
    if not isinstance(stages, list):
        return stages
    return [_in_our_words(stage) if isinstance(stage, dict) else stage for stage in stages]


def _in_our_words(stage: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in stage.items():
        name = str(key)  # in YAML a key can be a number
        field = field_called(name) or name
        if value is not None:
            found[name if field in stage or field in FOREIGN else field] = value
    return translated(found)


def parse_then(text: str) -> object:
    """Stages given as text: a cell of a table, or `--set then=...`.

    Raises:
        ValueError: not JSON, or a key that stands twice; the message says what is expected.
    """
    try:
        return json.loads(text, object_pairs_hook=_single)
    except (ValueError, RecursionError) as error:
        detail = "a key stands twice in it" if isinstance(error, _KeyTwice) else "it is not JSON"
        raise ValueError(f"expected a list of stages as JSON, such as {EXAMPLE}: {detail}") from None


class _KeyTwice(ValueError):
    pass


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _KeyTwice
    return found


class StageFaults:
    """Turns pydantic's errors in `then` into messages."""

    def __init__(self) -> None:
        self._expectations = Expectations(STAGE_TYPES)

    def explain(self, error: ErrorDetails, then: object) -> StageFault:
        """One error whose place begins with `then`.

        Args:
            error: as pydantic gives it.
            then: the value that was refused.
        """
        place = error["loc"][1:]
        if not place:
            return self._whole(error, then)
        position = int(place[0])
        stage = then[position] if isinstance(then, list | tuple) and position < len(then) else None
        if len(place) < 3 or not isinstance(stage, Mapping):
            return self._kind(position, stage)
        field = str(place[2])
        value = stage.get(field)
        pipeline = cast(PipelineName, place[1])
        if error["type"] == "extra_forbidden":
            return StageFault(stage_field(position, field), value, self._stranger(pipeline, field))
        message = self._expectations.explain(pipeline, field, error, value)
        return StageFault(stage_field(position, field), value, message)

    def booleans(self, then: object) -> Iterator[StageFault]:
        """Every true or false in the stages: pydantic takes true for 1, which nobody means."""
        stages = then if isinstance(then, list | tuple) else ()
        for position, stage in enumerate(stages):
            for field, value in stage.items() if isinstance(stage, Mapping) else ():
                if isinstance(value, bool):
                    expected = self._expectations.expected(stage["pipeline"], field)
                    yield StageFault(stage_field(position, field), value, "expected " + expected)

    def _whole(self, error: ErrorDetails, then: object) -> StageFault:
        if error["type"] == "too_long" and isinstance(then, list | tuple):
            return StageFault("then", None, f"expected at most {MAX_THEN} stages, found {len(then)}")
        return StageFault("then", then, f"expected a list of stages, such as {EXAMPLE}")

    def _kind(self, position: int, stage: object) -> StageFault:
        if not isinstance(stage, Mapping):
            return StageFault(stage_field(position), stage, f"expected a stage, such as {EXAMPLE[1:-1]}")
        pipeline = stage.get("pipeline")
        if pipeline is None:
            return StageFault(stage_field(position, "pipeline"), None, f"a stage must say which: {_PIPELINES}")
        why = "; a stage goes on from an image" if pipeline == "txt2img" else ""
        return StageFault(stage_field(position, "pipeline"), pipeline, f"expected one of {_PIPELINES}{why}")

    def _stranger(self, pipeline: PipelineName, field: str) -> str:
        if field == "image":
            return "a stage takes the image of the stage before it, and names none"
        if any(field in stage.model_fields for stage in STAGE_TYPES.values()):
            return self._expectations.not_applicable(pipeline, field)
        if field in RowBase.model_fields:
            return f"{field} belongs to the row, not to one of its stages"
        fields = STAGE_TYPES[pipeline].model_fields  # type: ignore[index]
        near = near_field(field)
        return f"did you mean {near}?" if near in fields else f"no such field; it takes {', '.join(fields)}"
