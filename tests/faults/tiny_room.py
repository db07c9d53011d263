"""The diffusers room, with the faults of `workers.engines.flat` raised in the middle of its own denoising loop.

`!exit`, `!hang` and `!oom>N` in a prompt, after the first step; `PROMPTMILL_FLAT_STEP_SECONDS` makes steps slower.
"""

import os
import re
import time
from collections.abc import Callable, Sequence

import torch

from services.catalogue import Catalogue
from services.settings import Settings
from workers.engines.base import Rendered, Slot
from workers.engines.diffusers_room import DiffusersRoom
from workers.engines.flat import STEP_SECONDS

_TOO_MANY = re.compile(r"!oom>(\d+)")


class TinyRoom(DiffusersRoom):
    """Renders with diffusers; every fault passes through its own handling of errors."""

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(1)
        super().__init__(settings, Catalogue.load(settings.models_file))
        self._step_seconds = float(os.environ.get(STEP_SECONDS, "0"))

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        """As the room's own."""

        def step() -> None:
            time.sleep(self._step_seconds)
            _fault(slots)
            on_step()

        return super().render(slots, step)


def _fault(slots: Sequence[Slot]) -> None:
    for slot in slots:
        prompt = slot.row.prompt
        if "!exit" in prompt:
            os._exit(9)
        while "!hang" in prompt:
            time.sleep(3600)
        most = _TOO_MANY.search(prompt)
        if most and len(slots) > int(most[1]):
            raise torch.OutOfMemoryError(f"{len(slots)} images are more than {most[1]}, as asked for")
