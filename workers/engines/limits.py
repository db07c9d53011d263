"""How many images fit into one denoising loop. A guess on the safe side: the runner halves what did not fit."""

import torch

from schemas.catalogue import ModelEntry
from schemas.planned import UPSCALE_FACTOR, PlannedRow
from schemas.units import UNIT_PIXELS

# Half precision with classifier-free guidance, per output pixel: activations of one image in the UNet. SD 1.5 at
# 512 x 512 needs about 0.55 GB, SDXL at 1024 x 1024 about 1.5 GB; this is the larger of both per pixel, and a fifth.
_UNET_BYTES_PER_PIXEL = 2_600
# Decoding goes image by image, so this counts once; SDXL decodes in float32, so it is the same in every format.
_VAE_BYTES_PER_PIXEL = 8_000
# The largest tile of diffusers' VAEs, SDXL's.
_VAE_TILE_PIXELS = 1024 * 1024
_MOST_ON_GPU = 32
# A CPU gains from batches only where the overhead of small tensors rules: 16 images of 64 x 64.
_CPU_PIXELS = 16 * 64 * 64
_MOST_ON_CPU = 16
# Weights in half precision, for a model that is not loaded yet.
_WEIGHT_BYTES = {"sd1": 2.2e9, "sd2": 2.7e9, "sdxl": 7.2e9, "upscaler": 1.8e9}


def batch_limit(
    row: PlannedRow, entry: ModelEntry, device: torch.device, dtype: torch.dtype, free: int, loaded: bool
) -> int:
    """Most images like this row's in one loop, at least 1.

    Args:
        row: one row of the batch.
        entry: its model.
        device: where it is rendered.
        dtype: number format of the weights.
        free: bytes free on the device now.
        loaded: whether the model's weights lie there already.
    """
    pixels = (row.width * row.height) if row.width and row.height else UNIT_PIXELS
    unet_pixels, vae_pixels = _in_one_piece(row, pixels)
    if device.type == "cpu":
        return max(1, min(_MOST_ON_CPU, _CPU_PIXELS // pixels))
    size = dtype.itemsize / 2
    left = free - (0 if loaded else _WEIGHT_BYTES[entry.family] * size) - vae_pixels * _VAE_BYTES_PER_PIXEL
    return max(1, min(_MOST_ON_GPU, int(left // (unet_pixels * _UNET_BYTES_PER_PIXEL * size))))


def _in_one_piece(row: PlannedRow, pixels: int) -> tuple[int, int]:
    """Most output pixels that UNet and VAE work on at a time."""
    if row.tiling is None:
        return pixels, pixels
    window = row.tiling.window
    unet = pixels if window is None else min(pixels, (window * UPSCALE_FACTOR) ** 2)
    return unet, min(pixels, _VAE_TILE_PIXELS)
