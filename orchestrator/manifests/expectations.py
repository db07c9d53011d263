"""What a field expects, in our own words. Limits and choices are read from the schemas, never written twice."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic_core import ErrorDetails

from orchestrator.manifests.names import near_name, near_scheduler
from schemas.base import Frozen
from schemas.rows import MAX_THEN, PIPELINES, ROW_TYPES, PipelineName
from schemas.samplers import unavailable_sampler

_IN_WORDS = {
    "id": (
        "a name of letters, digits, spaces and . _ @ + = , ( ) # -, 120 characters at most; "
        "a letter or digit first, no dot or space last"
    ),
    "model": "an alias from the catalogue: letters, digits and . _ -",
    "image": "a file, s3://bucket/key or https://host/path, 2,048 characters at most",
    "loras": "up to 16 names of LoRAs in the catalogue, each with a weight from -10 to 10: name:0.8, other",
    "embeddings": "up to 16 names of embeddings in the catalogue: name, other",
    "mask": "a file, s3://bucket/key or https://host/path, 2,048 characters at most",
    "then": f"a list of stages, {MAX_THEN} at most",
}
_MOST_REMEMBERED = 10_000


class Expectations:
    """Turns pydantic's errors into messages. Made by whoever needs it; what it learns is bounded.

    Args:
        types: the model of each pipeline: of rows, or of the stages of `then`.
        keys: what the manifest's format calls the fields, where it has no columns.
    """

    def __init__(
        self, types: Mapping[Any, type[Frozen]] = ROW_TYPES, *, keys: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._keys = keys
        self._types: Mapping[PipelineName, type[Frozen]] = types
        self._nodes: dict[PipelineName, dict[str, Any]] = {}
        self._near_schedulers: dict[str, str | None] = {}

    def explain(self, pipeline: PipelineName, field: str, error: ErrorDetails, value: object) -> str:
        """What was expected of `value`, which `field` of a row of `pipeline` refused with `error`."""
        kind = error["type"]
        if kind == "missing" or (field == "prompt" and kind == "string_pattern_mismatch"):
            return self._missing(pipeline, field, kind)
        if kind == "extra_forbidden":
            return self.not_applicable(pipeline, field)
        if kind == "multiple_of" and isinstance(value, int | float | str):
            return _nearest_multiples(float(value), int(error["ctx"]["multiple_of"]))
        if kind == "string_too_long" and isinstance(value, str):
            return f"expected at most {error['ctx']['max_length']:,} characters, found {len(value):,}"
        if kind == "literal_error" and field == "scheduler" and isinstance(value, str):
            return self._scheduler(value)
        decimal_comma = isinstance(value, str) and "," in value and kind == "float_parsing"
        return "expected " + self.expected(pipeline, field) + (", with a decimal point" if decimal_comma else "")

    def pipeline(self, value: object) -> str:
        """What was expected of `value`, which is no pipeline."""
        near = near_name(value, PIPELINES) if isinstance(value, str) else None
        return (f"did you mean {near}? " if near else "") + "expected one of " + ", ".join(PIPELINES)

    def expected(self, pipeline: PipelineName, field: str) -> str:
        """What a field of a pipeline takes: `a whole number from 1 to 1,000`."""
        if field in _IN_WORDS:
            return _IN_WORDS[field]
        if pipeline not in self._nodes:
            self._nodes[pipeline] = self._types[pipeline].model_json_schema()["properties"]
        return in_words(self._nodes[pipeline][field])

    def _missing(self, pipeline: PipelineName, field: str, kind: str) -> str:
        if kind != "missing":
            return "must not be empty"
        if field == "prompt":
            remedy = (
                f"give it as {self._keys[field]}" if self._keys else "name its column prompt, or --map prompt=COLUMN"
            )
            return f"{pipeline} needs a prompt: {remedy}"
        return f"{pipeline} needs {'an' if field == 'image' else 'a'} {field}"

    def not_applicable(self, pipeline: PipelineName, field: str) -> str:
        """Why a field that other pipelines have is none of this one's."""
        takers = [name for name, row in self._types.items() if field in row.model_fields]
        reason = "its output's size follows from its input's" if field in ("width", "height") else ""
        return f"{field} does not apply to {pipeline}: " + (reason or "it is for " + ", ".join(takers))

    def _scheduler(self, value: str) -> str:
        unavailable = unavailable_sampler(value)
        if unavailable:
            return f"{unavailable} has no counterpart in diffusers; near to it: dpmpp_2m, dpmpp_sde, euler_a"
        if value not in self._near_schedulers:
            if len(self._near_schedulers) >= _MOST_REMEMBERED:
                self._near_schedulers.clear()
            self._near_schedulers[value] = near_scheduler(value)
        near = self._near_schedulers[value]
        return f"did you mean {near}?" if near else "expected " + self.expected("img2img", "scheduler")


def in_words(node: Mapping[str, Any]) -> str:
    """What a value of this JSON schema is: `a whole number from 1 to 1,000`."""
    node = next((part for part in node.get("anyOf", ()) if part.get("type") != "null"), node)
    if "enum" in node:
        return "one of " + ", ".join(node["enum"])
    if node["type"] in ("integer", "number"):
        noun = "a whole number" if node["type"] == "integer" else "a number"
        least = f"above {node['exclusiveMinimum']:,}" if "exclusiveMinimum" in node else f"from {node['minimum']:,}"
        step = f", a multiple of {node['multipleOf']}" if "multipleOf" in node else ""
        return f"{noun} {least} to {node['maximum']:,}{step}"
    return f"text, {node['maxLength']:,} characters at most"


def _nearest_multiples(value: float, of: int) -> str:
    below = int(value // of) * of
    return f"must be a multiple of {of}: {below} or {below + of}"
