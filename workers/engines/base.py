"""What the runner asks of an engine room. Import-light on purpose: a test engine needs no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services.image_metadata.record import StageRecord


class Interrupted(BaseException):
    """Raised by `on_step` to leave a denoising loop at once (cancel, TERM). Not an Exception: no engine catches it."""


class DeviceLost(SystemExit):
    """The device answers nothing any more in this process (a CUDA context does not outlive its first fault).

    Ends the process unless somebody knows better: the pool starts a fresh one, and the lease brings the rows back.
    """


@dataclass(frozen=True)
class Slot:
    """One image to render: its row, its number in the row, its seed, and the row's loaded inputs.

    `row.width` and `row.height` are final here. `image` is RGB of exactly that size (of the low-resolution size
    for upscale), `mask` is L of the same size; both are None where the pipeline takes none.

    Of a row with several stages, `row` is the stage that is rendered, as a row of its own (`PlannedRow.at_stage`).

    Attributes:
        stage: its number.
        chained: the row has several.
        before: what made `image`, stage by stage.
        flagged_before: the safety checker flagged the image at an earlier stage.
        held_bytes: most that the image takes between its stages.
    """

    row: PlannedRow
    number: int
    seed: int
    image: Image.Image | None = None
    mask: Image.Image | None = None
    stage: int = 0
    chained: bool = False
    before: tuple[StageRecord, ...] = ()
    flagged_before: bool = False
    held_bytes: int = 0


@dataclass(frozen=True)
class Rendered:
    """One rendered image: uint8 RGB of shape (height, width, 3). `flagged` is None where nothing checked it."""

    pixels: NDArray[np.uint8]
    flagged: bool | None = None
    dropped: bool = False


class Renderer(Protocol):
    """An engine room: every pipeline of every model that this worker can render."""

    def batch_limit(self, row: PlannedRow) -> int:
        """Most images like this row's in one denoising loop, by size and memory; at least 1."""

    def load(self, model: str, on_progress: Callable[[], None]) -> None:
        """Make a model ready.

        Raises:
            ModelUnavailable: it cannot be loaded here; the message says why and what to do.
        """

    def apart(self, slots: Sequence[Slot]) -> list[list[Slot]]:
        """Slots of one batch key, as the batches that can share a loop: prompts of one length each.

        Raises:
            ModelUnavailable: as for `render`.
            RenderFailed: a prompt cannot be read; who asks with one slot alone knows whose.
        """

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        """Render slots that `apart` left together, in one denoising loop; `on_step` is called after every step.

        Raises:
            OutOfMemory: not enough memory for so many; the runner halves the batch.
            ModelUnavailable: the model cannot be loaded or has no such pipeline.
            RenderFailed: the pipeline raised.
            Interrupted: raised by `on_step`; nothing of the batch is kept.
            DeviceLost: only a new process can go on.
        """

    def warnings(self, row: PlannedRow) -> tuple[str, ...]:
        """What a row's user should know although it renders, such as the end of a prompt that is never read.

        Raises:
            ModelUnavailable: as for `render`.
        """

    def info(self, row: PlannedRow) -> RenderInfo:
        """Device, dtype, versions and sources that a result of this row records."""
