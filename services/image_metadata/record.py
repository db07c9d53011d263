"""Our own key, `promptmill`: everything that made one image, as JSON.

The same recipe gives the same text: no job, attempt, worker or time is in it, and none of the user's own columns.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from schemas.base import Versioned
from schemas.errors import InvalidInput
from schemas.planned import PlannedRow
from schemas.result import RenderInfo

FOREIGN = "s3://"


class ImageRecord(Versioned):
    """What made one image."""

    recipe: dict[str, Any] = Field(description="the planned row; input images by sha256")
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
) -> ImageRecord:
    """The record of one image.

    Args:
        row: the row as planned.
        number: of the image in its row, from 0.
        seed: of this image.
        width: of the image, in pixels.
        height: of the image, in pixels.
        batch_size: images in its denoising loop.
        slot: its place in the loop, from 0.
        inputs: `image` and `mask` -> sha256 of the bytes that were read.
        render: device, dtype, versions and model.
        version: of promptmill.
    """
    return ImageRecord(
        recipe=_recipe(row, inputs),
        image=number,
        seed=seed,
        width=width,
        height=height,
        batch_size=batch_size,
        slot=slot,
        render=render,
        promptmill=version,
    )


def _recipe(row: PlannedRow, inputs: Mapping[str, str]) -> dict[str, Any]:
    recipe = row.recipe()
    for name in ("image", "mask"):
        if name in recipe:
            # The key of an uploaded input holds the job's id; its content is what counts.
            planned = recipe[name]
            sha256 = inputs.get(name, planned.get("sha256"))
            known = {"sha256": sha256} if sha256 else {}
            foreign = planned["address"].startswith(FOREIGN)
            recipe[name] = known | ({"address": planned["address"]} if foreign else {})
    return recipe


def planned_row(record: ImageRecord, *, index: int = 0) -> PlannedRow:
    """The row that made the image, without the user's own columns. An uploaded input's address is `sha256:HEX`.

    Raises:
        InvalidInput: the recipe was written by a version that this one does not understand.
    """
    recipe = {"width": None, "height": None, "scheduler": None} | record.recipe
    for name in ("image", "mask"):
        if name in recipe:
            recipe[name] = {"address": f"sha256:{recipe[name].get('sha256', '')}"} | recipe[name]
    try:
        return PlannedRow.model_validate({"index": index} | recipe)
    except ValidationError as error:
        raise InvalidInput(f"a recipe that this version does not understand: {_first(error)}") from None


def format_record(record: ImageRecord) -> str:
    """The text of our key: JSON with sorted keys, every script as it is."""
    document = record.model_dump(mode="json")
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
