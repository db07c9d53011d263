"""Text to image."""

from collections.abc import Sequence
from typing import Any

from workers.engines.base import Slot
from workers.engines.engine import Engine


def _arguments(pipe: Any, slots: Sequence[Slot]) -> dict[str, Any]:
    row = slots[0].row
    return {"width": row.width, "height": row.height}


TXT2IMG = Engine(
    pipeline="txt2img",
    classes={
        "sd1": "StableDiffusionPipeline",
        "sd2": "StableDiffusionPipeline",
        "sdxl": "StableDiffusionXLPipeline",
    },
    arguments=_arguments,
)
