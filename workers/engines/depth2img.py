"""Keeps the layout of the input image (its estimated depth) and redraws the rest."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch

from workers.engines.base import Slot
from workers.engines.engine import Engine, images_of, strength_of


def _arguments(pipe: Any, slots: Sequence[Slot]) -> dict[str, Any]:
    images = images_of(slots)
    return {"image": images, "depth_map": _depth_map(pipe, images), "strength": strength_of(slots, 0.8)}


@torch.no_grad()
def _depth_map(pipe: Any, images: list[Any]) -> torch.Tensor:
    """The depth of each image, as the pipeline estimates it: float, (batch, height, width) of the estimator.

    The pipeline's own estimate asks for autocast in every number format; on a CPU in float32 torch warns about
    that for every image and then leaves it. The condition here is the only difference.
    """
    parameter = next(pipe.depth_estimator.parameters())
    device, dtype = parameter.device, parameter.dtype
    pixels = pipe.feature_extractor(images=images, return_tensors="pt").pixel_values.to(device=device, dtype=dtype)
    half = dtype in (torch.float16, torch.bfloat16) and device.type != "mps"
    with torch.autocast(device.type, dtype=dtype) if half else contextlib.nullcontext():
        depth: torch.Tensor = pipe.depth_estimator(pixels).predicted_depth
    return depth


DEPTH2IMG = Engine(
    pipeline="depth2img",
    classes={"sd1": "StableDiffusionDepth2ImgPipeline", "sd2": "StableDiffusionDepth2ImgPipeline"},
    arguments=_arguments,
    own_components=("feature_extractor",),
)
