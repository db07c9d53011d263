"""A row's input images, read from the store and made ready for its pipeline."""

import hashlib
from dataclasses import dataclass

from PIL import Image

from schemas.errors import BucketMissing, InvalidInput, ObjectMissing, StoreRefused
from schemas.planned import UPSCALE_FACTOR, InputImage, PlannedRow
from services.input_images import ImageLimits, check_mask_matches, fit, open_image, open_mask, working_size
from services.store import ObjectStore

FOREIGN = "s3://"


@dataclass(frozen=True)
class LoadedInputs:
    """A row with its final size, and its inputs of exactly that size (of the input size for upscale)."""

    row: PlannedRow
    image: Image.Image | None
    mask: Image.Image | None
    sha256: dict[str, str]


def load_inputs(store: ObjectStore, row: PlannedRow, limits: ImageLimits) -> LoadedInputs:
    """Read and prepare a row's inputs.

    Raises:
        InvalidInput: missing, broken, too large, or not what it was when the job was submitted.
        ServiceError: the store is away; not the row's fault.
    """
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
    if row.pipeline == "upscale":
        sized = row.model_copy(update={"width": width * UPSCALE_FACTOR, "height": height * UPSCALE_FACTOR})
    else:
        sized = row.model_copy(update={"width": width, "height": height})
    return LoadedInputs(sized, fit(image, width, height), fit(mask, width, height) if mask else None, hashes)


def _working_size(row: PlannedRow, image: Image.Image) -> tuple[int, int]:
    """The size in pixels at which the pipeline takes the image."""
    factor = UPSCALE_FACTOR if row.pipeline == "upscale" else 1
    width, height = working_size(*image.size)
    return (row.width // factor if row.width else width), (row.height // factor if row.height else height)


def _read(store: ObjectStore, planned: InputImage, limits: ImageLimits, name: str) -> bytes:
    foreign = planned.address.startswith(FOREIGN)
    # A bucket that cannot be read is the row's fault where the row named it; our own one is everybody's.
    faults = (ObjectMissing, BucketMissing, StoreRefused) if foreign else (ObjectMissing,)
    try:
        if foreign:
            bucket, _, key = planned.address.removeprefix(FOREIGN).partition("/")
            data = store.get_foreign(bucket, key, limits.max_bytes)
        else:
            data = store.get(planned.address)
    except faults as error:
        raise InvalidInput(f"{name} {planned.address} cannot be read: {error}") from None
    if len(data) > limits.max_bytes:
        raise InvalidInput(f"{name} {planned.address} is larger than {limits.max_bytes} bytes")
    if planned.sha256 is not None and hashlib.sha256(data).hexdigest() != planned.sha256:
        raise InvalidInput(f"{name} {planned.address} is not the file that was submitted: its sha256 differs")
    return data
