"""Our own record of an image -> the row that made it, as a manifest says it."""

from collections.abc import Collection, Mapping
from typing import Any

from schemas.errors import InvalidInput
from schemas.rows import ROW_TYPES, STAGE_TYPES
from services.image_metadata.record import ImageRecord, planned_row

ADDRESS = "sha256:"
# What no manifest says, because it follows from the rest: the version of the shape, the catalogue's rule of tiles, and
# sizes of a pipeline that takes none.
_DERIVED = frozenset({"v", "tiling", "width", "height"})
_FIRST = ("id", "pipeline", "model")


def row_values(record: ImageRecord) -> dict[str, Any]:
    """The fields of the row that made an image. Inputs stand as `sha256:HEX`, or as the `s3://` address they had.

    An image of an earlier stage of a chain has the row up to that stage.

    Raises:
        InvalidInput: the recipe was written by a version that this one does not understand.
    """
    planned = planned_row(record)
    values = _authored(record.recipe, ROW_TYPES[planned.pipeline].model_fields)
    if planned.then:
        stages = zip(planned.then, record.recipe["then"], strict=True)
        values["then"] = [_authored(said, STAGE_TYPES[stage.pipeline].model_fields) for stage, said in stages]  # type: ignore[index]
    return values


def one_image(values: dict[str, Any], record: ImageRecord) -> dict[str, Any]:
    """The fields of a row that makes this one image alone: the same pixels, as far as a batch of one allows."""
    alone = {name: value for name, value in values.items() if name != "num_images"}
    alone["seed"] = values["seed"] + record.image
    if "then" in values:
        alone["then"] = [stage | {"seed": stage["seed"] + record.image} for stage in values["then"]]
    if values.get("num_images", 1) > 1:
        alone["id"] = f"{values['id']}-{record.image}"
    return alone


def _authored(recipe: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """The values that a manifest says, in the order in which people write them.

    Raises:
        InvalidInput: there is one that it cannot say.
    """
    given = {name: value for name, value in recipe.items() if not _is_empty(value)}
    strange = sorted(given.keys() - set(fields) - _DERIVED)
    if strange:
        raise InvalidInput(f"its recipe has what no manifest can say: {', '.join(strange)}")
    order = [*_FIRST, *(name for name in fields if name not in _FIRST)]
    return {name: _said(given[name]) for name in order if name in given and name in fields}


def _said(value: Any) -> Any:
    """A value as a manifest says it: an input image by one address."""
    if isinstance(value, dict) and value and value.keys() <= {"address", "sha256"}:
        return value.get("address") or f"{ADDRESS}{value['sha256']}"
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (not isinstance(value, int | float) and not value)
