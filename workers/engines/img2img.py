"""Image and text to image. The output has the size of the input image; diffusers takes no other."""

from collections.abc import Sequence
from typing import Any

from workers.engines.base import Slot
from workers.engines.engine import Engine, images_of, strength_of


def _arguments(pipe: Any, slots: Sequence[Slot]) -> dict[str, Any]:
    return {"image": images_of(slots), "strength": strength_of(slots, 0.8)}


IMG2IMG = Engine(
    pipeline="img2img",
    classes={
        "sd1": "StableDiffusionImg2ImgPipeline",
        "sd2": "StableDiffusionImg2ImgPipeline",
        "sdxl": "StableDiffusionXLImg2ImgPipeline",
    },
    arguments=_arguments,
)
