"""LoRAs and textual inversions as a row names them, and how a prompt's weights are written."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator

from schemas.base import Frozen

Weighting = Literal["compel", "a1111"]
AdapterName = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

MAX_ADAPTERS = 16
MAX_LORA_WEIGHT = 10.0


class LoraUse(Frozen):
    """A LoRA of the catalogue and how strongly it counts: 1 as it was trained, 0 not at all, negative away from it."""

    name: AdapterName
    weight: float = Field(1.0, ge=-MAX_LORA_WEIGHT, le=MAX_LORA_WEIGHT)

    @field_validator("weight")
    @classmethod
    def _no_negative_zero(cls, value: float) -> float:
        return value + 0.0

    def __str__(self) -> str:
        return f"{self.name}:{self.weight:g}"


def _lora_list(value: Any) -> Any:
    """`name:0.8, other` in a cell, JSON in a cell, or a list of texts and objects -> a list of objects.

    What is none of these is left for the schema to refuse.
    """
    parts = _parts(value)
    if not isinstance(parts, list | tuple):
        return parts
    found = [_named_weight(part) if isinstance(part, str) else part for part in parts]
    names = [name for name in map(_name_of, found) if isinstance(name, str)]
    if len(set(names)) < len(names):
        raise ValueError("a LoRA is named twice")
    return found


def _name_of(part: Any) -> Any:
    return part.get("name") if isinstance(part, dict) else getattr(part, "name", None)


def _named_weight(text: str) -> dict[str, str]:
    name, colon, weight = text.partition(":")
    return {"name": name.strip(), "weight": weight.strip()} if colon else {"name": name.strip()}


def _name_list(value: Any) -> Any:
    parts = _parts(value)
    if isinstance(parts, list | tuple) and len({str(part) for part in parts}) < len(parts):
        raise ValueError("an embedding is named twice")
    return parts


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("[", "{")):
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return [read] if isinstance(read, dict) else read
    return [part.strip() for part in value.split(",") if part.strip()]


LoraUses = Annotated[tuple[LoraUse, ...], BeforeValidator(_lora_list), Field(max_length=MAX_ADAPTERS)]
EmbeddingNames = Annotated[tuple[AdapterName, ...], BeforeValidator(_name_list), Field(max_length=MAX_ADAPTERS)]
