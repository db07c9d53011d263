"""Our own key, `promptmill`: everything that made one image, as JSON.

The same recipe gives the same text: no job, attempt, worker or time is in it, and none of the user's own columns.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import Field, ValidationError

from schemas.base import Frozen, Versioned
from schemas.errors import InvalidInput
from schemas.planned import PlannedRow
from schemas.result import RenderInfo

FOREIGN = "s3://"


class StageRecord(Frozen):
    """What made the image of an earlier stage of a chain, beside the recipe."""

    seed: int = Field(description="of the image at this stage")
    width: int = Field(ge=1, description="pixels, as rendered")
    height: int = Field(ge=1, description="pixels, as rendered")
    batch_size: int = Field(ge=1, description="images in the denoising loop that made it")
    slot: int = Field(ge=0, description="its place in that loop")
    render: RenderInfo


class ImageRecord(Versioned):
    """What made one image. The image of one stage goes to the next as uint8 RGB, as it would stand in a PNG."""

    recipe: dict[str, Any] = Field(description="the planned row, its stages up to this image's; inputs by sha256")
    stages: tuple[StageRecord, ...] = Field((), description="the stages before the one that made this image, in order")
    image: int = Field(ge=0, description="number of the image in its row")
    seed: int = Field(description="of this image")
    width: int = Field(ge=1, description="pixels, as rendered")
    height: int = Field(ge=1, description="pixels, as rendered")
    batch_size: int = Field(ge=1, description="images in the denoising loop that made it")
    slot: int = Field(ge=0, description="its place in that loop")
    render: RenderInfo
    promptmill: str = Field(description="version of promptmill")


def image_record(
    row: PlannedRow,
    *,
    number: int,
    seed: int,
    width: int,
    height: int,
    batch_size: int,
    slot: int,
    inputs: Mapping[str, str],
    render: RenderInfo,
    version: str,
    before: Sequence[StageRecord] = (),
    stage_masks: Mapping[int, str] = MappingProxyType({}),
) -> ImageRecord:
    """The record of one image.

    Args:
        row: the row as planned, with all of its stages; of these, the one after `before` made the image.
        number: of the image in its row, from 0.
        seed: of this image.
        width: of the image, in pixels.
        height: of the image, in pixels.
        batch_size: images in its denoising loop.
        slot: its place in the loop, from 0.
        inputs: `image` and `mask` -> sha256 of the bytes that were read.
        render: device, dtype, versions and model.
        version: of promptmill.
        before: the stages before the one that made it.
        stage_masks: number of a stage -> sha256 of the mask that was read for it.
    """
    return ImageRecord(
        recipe=_recipe(row, len(before), inputs, stage_masks),
        stages=tuple(before),
        image=number,
        seed=seed,
        width=width,
        height=height,
        batch_size=batch_size,
        slot=slot,
        render=render,
        promptmill=version,
    )


def _recipe(row: PlannedRow, stage: int, inputs: Mapping[str, str], stage_masks: Mapping[int, str]) -> dict[str, Any]:
    recipe = row.recipe(stage)
    for name in ("image", "mask"):
        if name in recipe:
            recipe[name] = _by_content(recipe[name], inputs.get(name))
    for number, later in enumerate(recipe.get("then", ()), 1):
        if "mask" in later:
            later["mask"] = _by_content(later["mask"], stage_masks.get(number))
    return recipe


def _by_content(planned: Mapping[str, Any], read: str | None) -> dict[str, Any]:
    """The key of an uploaded input holds the job's id; its content is what counts."""
    sha256 = read or planned.get("sha256")
    known = {"sha256": sha256} if sha256 else {}
    foreign = planned["address"].startswith(FOREIGN)
    return known | ({"address": planned["address"]} if foreign else {})


def planned_row(record: ImageRecord, *, index: int = 0) -> PlannedRow:
    """The row that made the image, without the user's own columns. An uploaded input's address is `sha256:HEX`.

    Raises:
        InvalidInput: the recipe was written by a version that this one does not understand.
    """
    recipe = _with_addresses(record.recipe)
    if "then" in recipe:
        recipe["then"] = [_with_addresses(stage) for stage in recipe["then"]]
    try:
        return PlannedRow.model_validate({"index": index} | recipe)
    except ValidationError as error:
        raise InvalidInput(f"a recipe that this version does not understand: {_first(error)}") from None


def _with_addresses(recipe: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"width": None, "height": None, "scheduler": None} | dict(recipe)
    for name in ("image", "mask"):
        if name in found:
            found[name] = {"address": f"sha256:{found[name].get('sha256', '')}"} | found[name]
    return found


def format_record(record: ImageRecord) -> str:
    """The text of our key: JSON with sorted keys, every script as it is."""
    document = record.model_dump(mode="json", exclude=None if record.stages else {"stages"})
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_record(text: str) -> ImageRecord:
    """The inverse of `format_record`.

    Raises:
        InvalidInput: not a record of ours, or one of a later version.
    """
    try:
        return ImageRecord.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInput(f"the image's own key cannot be read: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
