"""The safety checker, called by our own code: each image of a batch gets its own verdict, and none fails another.

diffusers' pipelines blacken a flagged image. Here it is kept, blurred or dropped, and the flag is recorded.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from workers.engines.base import Rendered

SafetyMode = Literal["keep", "blur", "drop", "off"]
# The blur's radius as a share of the longer side: nothing that could be flagged is recognizable.
_BLUR = 1 / 12


class SafetyChecker:
    """A model's own checker and the image processor that belongs to it.

    Args:
        checker: diffusers' `StableDiffusionSafetyChecker`. It becomes this object's own.
        processor: the model's `CLIPImageProcessor`.
        threshold: added to every score. What is over 0 is flagged: 0 is the model's own judgement, 2 flags all.
    """

    def __init__(self, checker: Any, processor: Any, threshold: float = 0.0) -> None:
        self._checker = checker
        self._processor = processor
        if threshold:
            with torch.no_grad():
                for name in ("concept_embeds_weights", "special_care_embeds_weights"):
                    getattr(checker, name).sub_(threshold)

    def flags(self, pictures: Sequence[NDArray[np.uint8]]) -> list[bool]:
        """Which of the pictures, uint8 of (height, width, 3), the checker objects to."""
        images = [Image.fromarray(pixels) for pixels in pictures]
        pixels = self._processor(images, return_tensors="pt").pixel_values
        parameter = next(self._checker.parameters())
        # The checker blackens what it gets: it gets placeholders.
        blanks = np.zeros((len(images), 1, 1, 3), dtype=np.uint8)
        _, found = self._checker(images=blanks, clip_input=pixels.to(device=parameter.device, dtype=parameter.dtype))
        return [bool(flag) for flag in found]


def judged(pictures: Sequence[NDArray[np.uint8]], checker: SafetyChecker | None, mode: SafetyMode) -> list[Rendered]:
    """The pictures as results. `flagged` is None without a checker and in mode off."""
    if checker is None or mode == "off":
        return [Rendered(pixels) for pixels in pictures]
    return [_result(pixels, flag, mode) for pixels, flag in zip(pictures, checker.flags(pictures), strict=True)]


def _result(pixels: NDArray[np.uint8], flag: bool, mode: SafetyMode) -> Rendered:
    if not flag or mode == "keep":
        return Rendered(pixels, flagged=flag)
    if mode == "drop":
        return Rendered(np.zeros_like(pixels), flagged=True, dropped=True)
    radius = max(pixels.shape[:2]) * _BLUR
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius))
    return Rendered(np.asarray(blurred), flagged=True)
