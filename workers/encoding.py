"""Pixels to a file with its metadata. The same pixels and record give the same bytes, on the same Pillow."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.errors import InvalidInput
from schemas.planned import PlannedRow
from schemas.rows import ImageFormat
from services.image_metadata.carriers import exif_block, jpeg_metadata, png_chunks
from services.image_metadata.infotext import infotext
from services.image_metadata.record import ImageRecord, format_record

CONTENT_TYPES: dict[ImageFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
# Longest side in pixels: libwebp's WEBP_MAX_DIMENSION, libjpeg's JPEG_MAX_DIMENSION.
MAX_SIDE: dict[ImageFormat, int] = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}
JPEG_QUALITY = 95
# Encoding runs beside the denoising loop, so its time counts more than the last bytes. Measured at 512 x 512 on one
# core: PNG level 1 takes 22 ms (level 6: 36), WebP lossless method 0 6 ms, lossy method 2 half the time of 4.
PNG_LEVEL = 1
WEBP_LOSSLESS_METHOD = 0
WEBP_LOSSY_METHOD = 2


def encode(pixels: NDArray[np.uint8], row: PlannedRow, record: ImageRecord) -> bytes:
    """The bytes of the file.

    Args:
        pixels: RGB, uint8, shape (height, width, 3).
        row: the row as planned; `format` and `quality` (1 to 100) decide. A JPEG without quality gets 95, always
            4:4:4; a WebP without one is lossless.
        record: what made the image.

    Raises:
        InvalidInput: the format cannot hold an image of this size.
        ValueError: pixels of another type or shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"uint8 pixels of shape (height, width, 3), not {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    longest = MAX_SIDE[row.format]
    if max(width, height) > longest:
        raise InvalidInput(f"{row.format} holds at most {longest} pixels a side, not {width} x {height}; use png")
    text = infotext(
        row,
        seed=record.seed,
        width=width,
        height=height,
        version=record.promptmill,
        adapters=record.render.adapters,
    )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=row.format.upper(), **_options(row, text, format_record(record)))
    return file.getvalue()


def _options(row: PlannedRow, text: str, own: str) -> dict[str, Any]:
    if row.format == "png":
        return {"compress_level": PNG_LEVEL, "pnginfo": png_chunks(text, own)}
    if row.format == "jpeg":
        metadata = jpeg_metadata(text, own)
        return {"quality": row.quality or JPEG_QUALITY, "subsampling": "4:4:4", **metadata._asdict()}
    exif = exif_block(text, own)
    if row.quality is None:
        return {"lossless": True, "method": WEBP_LOSSLESS_METHOD, "exif": exif}
    return {"quality": row.quality, "method": WEBP_LOSSY_METHOD, "exif": exif}
