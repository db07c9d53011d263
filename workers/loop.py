"""One denoising loop for images with one batch key: halved where memory is short, taken apart where one spoils it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from schemas.adapters import Weighting
from schemas.errors import ModelUnavailable, OutOfMemory, PromptmillError, RenderFailed, RowError, ServiceError
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services.failpoints import failpoint
from workers.batches import BatchSizes
from workers.commit import Committer
from workers.engines.base import Rendered, Renderer, Slot
from workers.keeper import LeaseKeeper

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Made:
    """One image out of a loop, and what the loop was.

    Attributes:
        batch_size: images in the loop.
        place: this image's place in it, from 0.
        share: its part of the loop's seconds.
    """

    slot: Slot
    image: Rendered
    batch_size: int
    place: int
    render: RenderInfo
    share: float


class ModelElsewhere(ServiceError):
    """The model cannot be loaded here, and another worker may have it: the task is theirs, and not at fault."""


class Loop:
    """Renders batches of one task. Rows that cannot be rendered fail here, and no others with them.

    Args:
        nobody_has: says whether all living workers are known to lack a model, with its LoRAs and embeddings.
    """

    def __init__(
        self,
        renderer: Renderer,
        sizes: BatchSizes,
        keeper: LeaseKeeper,
        committer: Committer,
        nobody_has: Callable[[str], bool],
    ) -> None:
        self._renderer = renderer
        self._nobody_has = nobody_has
        self.sizes = sizes
        self._keeper = keeper
        self._committer = committer

    def render(self, batch: list[Slot], take: Callable[[Made], None]) -> None:
        """Render one batch and hand over its images.

        Raises:
            Interrupted: the task has to stop at once.
            ModelElsewhere: the task has to go to another worker.
            DeviceLost: only a new process can go on.
        """
        batch = [slot for slot in batch if self._committer.is_open(slot.row)]
        if not batch or self._keeper.reason is not None:
            return
        started = time.monotonic()
        try:
            parts = self._apart(batch)
            images, infos = self._rendered(batch) if len(parts) == 1 else ([], {})
        except (OutOfMemory, RenderFailed) as error:
            if len(batch) == 1:
                self._committer.fail(batch[0].row, error, stage=batch[0].stage)
                return
            middle = len(batch) // 2
            if isinstance(error, OutOfMemory):
                log.warning("%d images did not fit into memory; trying %d", len(batch), middle)
                self.sizes.too_many(batch)
            self.render(batch[:middle], take)
            self.render(batch[middle:], take)
            return
        except ModelUnavailable as error:
            if not self._nobody_has(_needs(batch[0].row)):
                raise ModelElsewhere(error.message, hint=error.hint) from error
            self._fail_all(batch, error)
            return
        if len(parts) > 1:
            for part in parts:
                self.render(part, take)
            return
        share = (time.monotonic() - started) / len(batch)
        for place, (slot, image) in enumerate(zip(batch, images, strict=True)):
            self._tell(slot)
            take(Made(slot, image, len(batch), place, infos[slot.row.weighting], share))
        failpoint("worker.rendered")

    def _apart(self, batch: list[Slot]) -> list[list[Slot]]:
        """As the engine room; it needs the model where prompts are weighted, and only there."""
        if all(slot.row.weighting is None for slot in batch):
            return [batch]
        return self._asked(batch, lambda: self._renderer.apart(batch))

    def _rendered(self, batch: list[Slot]) -> tuple[list[Rendered], dict[Weighting | None, RenderInfo]]:
        """As the engine room, and what it tells of them: all but the weighting is in the batch key."""

        def ask() -> tuple[list[Rendered], dict[Weighting | None, RenderInfo]]:
            images = self._renderer.render(batch, self._keeper.step)
            rows = {slot.row.weighting: slot.row for slot in batch}
            return images, {weighting: self._renderer.info(row) for weighting, row in rows.items()}

        return self._asked(batch, ask)

    def _asked(self, batch: list[Slot], ask: Callable[[], Answer]) -> Answer:
        """The engine room's answer, with the model loaded. What no engine should raise is a failed render too, or one
        bad row would end the task."""
        try:
            self._renderer.load(batch[0].row.model, self._keeper.step)
            return ask()
        except PromptmillError:
            raise
        except Exception as error:
            log.exception("the engine's own fault, at %d images of %s", len(batch), batch[0].row.model)
            raise RenderFailed(f"{type(error).__name__}: {error}") from error

    def _tell(self, slot: Slot) -> None:
        """The one line that says an image was denoised, whatever becomes of it; and its row's warnings."""
        stage = f" stage={slot.stage}" if slot.chained else ""
        job, row = self._committer.job, slot.row
        log.info("rendered job=%s row=%s image=%d seed=%d%s", job, row.id, slot.number, slot.seed, stage)
        if slot.number == 0:
            self._committer.warn(row, self._warnings(row), stage=slot.stage)

    def _warnings(self, row: PlannedRow) -> tuple[str, ...]:
        """A fault in looking for warnings costs the warnings, not the images that are rendered already."""
        try:
            return self._renderer.warnings(row)
        except Exception:
            log.exception("no warnings for row %s", row.id)
            return ()

    def _fail_all(self, batch: list[Slot], error: RowError) -> None:
        for slot in {slot.row.index: slot for slot in batch}.values():
            self._committer.fail(slot.row, error, stage=slot.stage)


def _needs(row: PlannedRow) -> str:
    """What of the catalogue a row needs, as one name: a worker can have its model and lack its LoRA."""
    return "+".join([row.model, *(use.name for use in row.loras), *row.embeddings])
