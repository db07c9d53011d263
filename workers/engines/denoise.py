"""One denoising loop: slots that share a batch key through one of diffusers' pipelines, to pixels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import RenderFailed
from workers.engines.base import Slot
from workers.engines.engine import Engine
from workers.engines.prompts import encode_prompts, is_guided


def denoise(pipe: Any, engine: Engine, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[NDArray[np.uint8]]:
    """Pictures as uint8 of (height, width, 3), one for each slot.

    The call is the one that diffusers' documentation shows, with one CPU generator for each image.

    Raises:
        RenderFailed: arguments that this model cannot take, or an output that is not a number.
        Exception: whatever the pipeline raises.
    """
    row = slots[0].row
    guided = is_guided(pipe, row.pipeline, row.guidance_scale)
    result = pipe(
        **encode_prompts(pipe, [slot.row for slot in slots], guided),
        **engine.arguments(pipe, slots),
        **_hook(engine, on_step),
        num_inference_steps=row.steps,
        guidance_scale=row.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(slot.seed) for slot in slots],
        output_type="pt",
    )
    return to_pixels(result.images)


def _hook(engine: Engine, on_step: Callable[[], None]) -> dict[str, Any]:
    if engine.old_callback:
        return {"callback": lambda step, timestep, latents: on_step(), "callback_steps": 1}

    def after_step(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return tensors

    return {"callback_on_step_end": after_step, "callback_on_step_end_tensor_inputs": []}


def to_pixels(images: torch.Tensor) -> list[NDArray[np.uint8]]:
    """Decoded images, (batch, 3, height, width) in 0..1, as uint8 of (height, width, 3).

    Rounded on the device, so that a quarter of the bytes travels; bit for bit what `postprocess("pil")` gives.

    Raises:
        RenderFailed: not a number; float16 overflows in some models.
    """
    values = images.float()
    if not bool(torch.isfinite(values).all()):
        raise RenderFailed(f"the picture is not a number ({images.dtype}): the model overflowed; worker.dtype float32")
    pixels: NDArray[np.uint8] = values.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return list(pixels)
