"""Redraws the white part of a mask, with a 9-channel inpainting UNet or, blending latents, a plain one."""

from collections.abc import Sequence
from typing import Any

from workers.engines.base import Slot
from workers.engines.engine import Engine, images_of, masks_of, strength_of


def _arguments(pipe: Any, slots: Sequence[Slot]) -> dict[str, Any]:
    row = slots[0].row
    return {
        "image": images_of(slots),
        "mask_image": masks_of(slots),
        "strength": strength_of(slots, 1.0),
        # Without these diffusers resizes everything to the UNet's native size.
        "width": row.width,
        "height": row.height,
    }


INPAINT = Engine(
    pipeline="inpaint",
    classes={
        "sd1": "StableDiffusionInpaintPipeline",
        "sd2": "StableDiffusionInpaintPipeline",
        "sdxl": "StableDiffusionXLInpaintPipeline",
    },
    arguments=_arguments,
)
