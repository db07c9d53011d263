"""An engine without a model, for tests of everything around it: no torch, a picture in well under a millisecond.

A picture is a gradient between two colours that the prompt and the seed decide; the same two give the same bytes.
`PROMPTMILL_FLAT_STEP_SECONDS` makes every step take that long.

Words in a prompt that make faults (the first that matches, checked for every slot of a batch):

| word      | what happens                                                                     |
|-----------|----------------------------------------------------------------------------------|
| `!exit`   | the process ends at once, status 9, as under `kill -9`: nothing is cleaned up    |
| `!lost`   | DeviceLost, after the first step                                                 |
| `!raise`  | RenderFailed, after the first step                                               |
| `!oom>N`  | OutOfMemory if the batch has more than N images; `!oom>0` never fits             |
| `!model`  | ModelUnavailable                                                                 |
| `!hang`   | no step ever ends, and nothing interrupts it                                     |
| `!crash`  | an exception that no engine should raise (ZeroDivisionError)                     |
| `!flag`   | the picture is flagged, and treated as `worker.safety` says (blur: one colour)   |
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ModelUnavailable, OutOfMemory, RenderFailed
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services.settings import Settings
from workers.engines.base import DeviceLost, Rendered, Slot

STEP_SECONDS = "PROMPTMILL_FLAT_STEP_SECONDS"
_MAX_BATCH = 8
_TOO_MANY = re.compile(r"!oom>(\d+)")


class FlatRoom:
    """Renders flat pictures. Every alias is a model to it.

    Args:
        settings: of this process; `worker` counts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.worker
        self._step_seconds = float(os.environ.get(STEP_SECONDS, "0"))

    def batch_limit(self, row: PlannedRow) -> int:
        """Most images in one loop: `worker.max_batch`, else 8; 1 in exact mode."""
        return 1 if self._settings.exact else self._settings.max_batch or _MAX_BATCH

    def load(self, model: str, on_progress: Callable[[], None]) -> None:
        """Nothing to load."""
        on_progress()

    def apart(self, slots: Sequence[Slot]) -> list[list[Slot]]:
        """All together: every prompt has the same length here."""
        return [list(slots)]

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        """As every engine room; see the module for the faults that it makes on request."""
        self._before_the_first_step(slots)
        for step in range(slots[0].row.steps):
            time.sleep(self._step_seconds)
            on_step()
            if step == 0:
                _after_the_first_step(slots)
        return [self._rendered(slot) for slot in slots]

    def warnings(self, row: PlannedRow) -> tuple[str, ...]:
        """Nothing is ever cut off."""
        return ()

    def info(self, row: PlannedRow) -> RenderInfo:
        """What a result records."""
        return RenderInfo(
            device="none",
            dtype="uint8",
            versions={"flat": "1"},
            model_source="flat",
            model_revision=None,
            safety=self._settings.safety,
        )

    def _before_the_first_step(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            prompt = slot.row.prompt
            if "!exit" in prompt:
                os._exit(9)
            if "!hang" in prompt:
                while True:
                    time.sleep(3600)
            if "!model" in prompt:
                raise ModelUnavailable(f"model {slot.row.model} is unavailable, as asked for")
            most = _TOO_MANY.search(prompt)
            if most and len(slots) > int(most[1]):
                raise OutOfMemory(f"{len(slots)} images are more than {most[1]}, as asked for")

    def _rendered(self, slot: Slot) -> Rendered:
        pixels = picture(slot.row.prompt, slot.seed, slot.row.width or 64, slot.row.height or 64)
        mode = self._settings.safety
        if mode == "off" or "!flag" not in slot.row.prompt:
            return Rendered(pixels, flagged=None if mode == "off" else False)
        if mode == "blur":
            pixels = np.broadcast_to(pixels.mean(axis=(0, 1)).astype(np.uint8), pixels.shape).copy()
        return Rendered(pixels, flagged=True, dropped=mode == "drop")


def _after_the_first_step(slots: Sequence[Slot]) -> None:
    for slot in slots:
        if "!raise" in slot.row.prompt:
            raise RenderFailed("failed, as asked for")
        if "!lost" in slot.row.prompt:
            raise DeviceLost("lost, as asked for")
        if "!crash" in slot.row.prompt:
            raise ZeroDivisionError("crashed, as asked for")


def picture(prompt: str, seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """The picture of a prompt and a seed: uint8 RGB of (height, width, 3), from one colour left to one right."""
    digest = sha256(f"{seed}\n{prompt}".encode()).digest()
    left, right = np.frombuffer(digest[:3], np.uint8), np.frombuffer(digest[3:6], np.uint8)
    ramp = np.linspace(0.0, 1.0, width)[:, None]
    line = (left * (1 - ramp) + right * ramp).astype(np.uint8)
    return np.broadcast_to(line, (height, width, 3)).copy()
