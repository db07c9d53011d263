"""A row's input images, read from the store and made ready for its pipeline."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from PIL import Image

from schemas.errors import InvalidInput
from schemas.planned import UPSCALE_FACTOR, InputImage, PlannedRow
from schemas.rows import MAX_SIDE, stage_field
from services.input_images import ImageLimits, check_mask_matches, fit, open_image, open_mask, working_size
from workers.input_source import InputSource


@dataclass(frozen=True)
class LoadedInputs:
    """A row with its final size, and its inputs of exactly that size (of the input size for upscale).

    The masks of later stages stand by the stage's number, each of its stage's size.
    """

    row: PlannedRow
    image: Image.Image | None
    mask: Image.Image | None
    sha256: dict[str, str]
    stage_masks: dict[int, Image.Image] = field(default_factory=dict)
    stage_masks_sha256: dict[int, str] = field(default_factory=dict)


def load_inputs(store: InputSource, row: PlannedRow, limits: ImageLimits) -> LoadedInputs:
    """Read and prepare a row's inputs.

    Raises:
        InvalidInput: missing, broken, too large, or not what it was when the job was submitted.
        ServiceError: the store is away; not the row's fault.
    """
    loaded = _load_own(store, row, limits)
    return _with_stage_masks(store, loaded, limits) if row.then else loaded


def _load_own(store: InputSource, row: PlannedRow, limits: ImageLimits) -> LoadedInputs:
    if row.image is None:
        return LoadedInputs(row, None, None, {})
    data = _read(store, row.image, limits, "image")
    hashes = {"image": hashlib.sha256(data).hexdigest()}
    image = open_image(data, limits)
    mask = None
    if row.mask is not None:
        mask_data = _read(store, row.mask, limits, "mask")
        hashes["mask"] = hashlib.sha256(mask_data).hexdigest()
        mask = open_mask(mask_data, limits)
        check_mask_matches(image.size, mask.size)
    width, height = _working_size(row, image)
    factor = UPSCALE_FACTOR if row.pipeline == "upscale" else 1
    sized = row.sized(width * factor, height * factor)
    return LoadedInputs(sized, fit(image, width, height), fit(mask, width, height) if mask else None, hashes)


def _with_stage_masks(store: InputSource, loaded: LoadedInputs, limits: ImageLimits) -> LoadedInputs:
    """The masks of later stages: read now, so that a bad one is known before anything is rendered."""
    masks: dict[int, Image.Image] = {}
    hashes: dict[int, str] = {}
    before = loaded.row.width, loaded.row.height
    for number, stage in enumerate(loaded.row.then, 1):
        width, height = stage.width, stage.height
        if not width or not height or max(width, height) > MAX_SIDE:
            raise InvalidInput(f"stage {number} would make {width} x {height} pixels; at most {MAX_SIDE} a side")
        if stage.mask is not None:
            data = _read(store, stage.mask, limits, stage_field(number - 1, "mask"))
            hashes[number] = hashlib.sha256(data).hexdigest()
            mask = open_mask(data, limits)
            check_mask_matches((before[0] or 0, before[1] or 0), mask.size)
            masks[number] = fit(mask, width, height)
        before = width, height
    return replace(loaded, stage_masks=masks, stage_masks_sha256=hashes)


def _working_size(row: PlannedRow, image: Image.Image) -> tuple[int, int]:
    """The size in pixels at which the pipeline takes the image."""
    factor = UPSCALE_FACTOR if row.pipeline == "upscale" else 1
    width, height = working_size(*image.size)
    return (row.width // factor if row.width else width), (row.height // factor if row.height else height)


def check_output(row: PlannedRow, max_pixels: Mapping[str, int]) -> None:
    """Whether the models can make images of these sizes: an input of unknown size decided them only now.

    Args:
        row: with its final sizes.
        max_pixels: the most output pixels of a model, by its alias.

    Raises:
        InvalidInput: the input is too large for the model.
    """
    for stage in (row.at_stage(number) for number in range(row.stage_count)):
        most = max_pixels.get(stage.model)
        if most and stage.width and stage.height and stage.width * stage.height > most:
            raise InvalidInput(
                f"the output would be {stage.width} x {stage.height}; the limit of {stage.model} is {most:,} pixels"
            )


def _read(source: InputSource, planned: InputImage, limits: ImageLimits, name: str) -> bytes:
    return source.read(planned, limits, name)
