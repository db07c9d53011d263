"""Text-guided upscaling to four times the side."""

from collections.abc import Sequence
from typing import Any

from schemas.errors import RenderFailed
from workers.engines.base import Slot
from workers.engines.engine import Engine, images_of


def _arguments(pipe: Any, slots: Sequence[Slot]) -> dict[str, Any]:
    level = slots[0].row.noise_level
    if level is not None and level > pipe.config.max_noise_level:
        raise RenderFailed(f"noise_level {level} is over this model's {pipe.config.max_noise_level}")
    return {"image": images_of(slots), "noise_level": 20 if level is None else level}


UPSCALE = Engine(
    pipeline="upscale",
    classes={
        "sd1": "StableDiffusionUpscalePipeline",
        "sd2": "StableDiffusionUpscalePipeline",
        "upscaler": "StableDiffusionUpscalePipeline",
    },
    arguments=_arguments,
    old_callback=True,
)
