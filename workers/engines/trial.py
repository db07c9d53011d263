"""One small render of each pipeline, to see that a model works on a device."""

from PIL import Image

from schemas.catalogue import ModelEntry
from schemas.planned import UPSCALE_FACTOR, PlannedRow
from schemas.rows import PipelineName
from workers.engines.base import Slot

_UPSCALE_INPUT = 64


def trial_slot(alias: str, entry: ModelEntry, pipeline: PipelineName) -> Slot:
    """One image of one step at the model's native size (64 x 64 input pixels for upscale), with a grey ramp as
    input and its lower half as mask."""
    width, height = (_UPSCALE_INPUT, _UPSCALE_INPUT) if pipeline == "upscale" else (entry.width, entry.height)
    factor = UPSCALE_FACTOR if pipeline == "upscale" else 1
    row = PlannedRow(
        index=0,
        id="trial",
        pipeline=pipeline,
        model=alias,
        prompt="a photograph of an astronaut riding a horse",
        width=width * factor,
        height=height * factor,
        steps=1,
        guidance_scale=entry.default_guidance_scale(pipeline),
        seed=0,
        scheduler=None,
        strength=None if pipeline in ("txt2img", "upscale") else 1.0,
    )
    ramp = Image.linear_gradient("L").resize((width, height))
    image = None if pipeline == "txt2img" else ramp.convert("RGB")
    mask = ramp.point(lambda value: 255 if value > 127 else 0) if pipeline == "inpaint" else None
    return Slot(row, 0, 0, image, mask)
