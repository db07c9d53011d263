"""Our own record of an image -> the row that made it, as a manifest says it."""

from typing import Any

from schemas.errors import InvalidInput
from schemas.rows import ROW_TYPES
from services.image_metadata.record import ImageRecord, planned_row

ADDRESS = "sha256:"
# The planned row's own: what no manifest says, because it follows from the rest.
_DERIVED = {"v"}
_SIZE = {"width", "height"}


def row_values(record: ImageRecord) -> dict[str, Any]:
    """The fields of the row that made an image. Inputs stand as `sha256:HEX`, or as the `s3://` address they had.

    Raises:
        InvalidInput: the recipe was written by a version that this one does not understand.
    """
    planned = planned_row(record)
    fields = ROW_TYPES[planned.pipeline].model_fields
    values = {name: value for name, value in record.recipe.items() if not _is_empty(value)}
    derived = _DERIVED | (_SIZE - fields.keys())
    strange = sorted(values.keys() - fields.keys() - derived)
    if strange:
        raise InvalidInput(f"its recipe has what no manifest can say: {', '.join(strange)}")
    # In the order in which people write them.
    order = dict.fromkeys(("id", "pipeline", "model", *fields))
    return {name: _authored(values[name]) for name in order if name in values}


def one_image(values: dict[str, Any], record: ImageRecord) -> dict[str, Any]:
    """The fields of a row that makes this one image alone: the same pixels, as far as a batch of one allows."""
    alone = {name: value for name, value in values.items() if name != "num_images"} | {"seed": record.seed}
    if values.get("num_images", 1) > 1:
        alone["id"] = f"{values['id']}-{record.image}"
    return alone


def _is_empty(value: Any) -> bool:
    return value is None or (not isinstance(value, int | float) and not value)


def _authored(value: Any) -> Any:
    """A value as a manifest says it: input images, wherever they stand, by one address."""
    if isinstance(value, dict):
        if value and value.keys() <= {"address", "sha256"}:
            return value.get("address") or f"{ADDRESS}{value['sha256']}"
        return {name: _authored(inner) for name, inner in value.items() if not _is_empty(inner)}
    return [_authored(inner) for inner in value] if isinstance(value, list) else value
