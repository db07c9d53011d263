"""The images of a task on their way through the stages of their rows.

All images pass stage 0, then all of them stage 1, and so on, so that each stage's model is loaded once and its batches
are as large as they can be. Between two stages an image is held in memory as it would be written to a PNG: uint8 RGB.
What is held is bounded by `worker.held_bytes`: a task whose images would take more goes in slices, each of them
through all stages before the next begins. A task without chains holds nothing, and is one slice.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from PIL import Image

from schemas.planned import UPSCALE_FACTOR, USUAL_SIDE, PlannedRow
from services.image_metadata.record import StageRecord
from services.input_images import fit
from workers.batches import cut
from workers.commit import Committer
from workers.engines.base import Rendered, Slot
from workers.inputs import LoadedInputs
from workers.loop import Loop, Made

_RGB = 3  # bytes of a pixel


@dataclass(frozen=True)
class _Held:
    """An image between two stages."""

    slot: Slot
    image: Rendered
    record: StageRecord


@dataclass(frozen=True)
class _Chain:
    """What the later stages of a row need: the row itself, and the masks by the stage's number."""

    row: PlannedRow
    masks: dict[int, Image.Image]


class Stages:
    """Takes the rows of one task through their stages. Used by one thread."""

    def __init__(self, loop: Loop, committer: Committer, held_bytes: int) -> None:
        self._loop = loop
        self._committer = committer
        self._held_bytes = held_bytes
        self._chains: dict[int, _Chain] = {}
        self._held: deque[_Held] = deque()

    def render(self, rows: Iterable[LoadedInputs]) -> Iterator[None]:
        """Render every image of the rows, through every stage; yields after each batch.

        Raises:
            Interrupted: the task has to stop at once; what is held is lost.
        """
        for _, slots in groupby(self._first_slots(rows), key=_slices(self._held_bytes)):
            yield from self._pass(slots)
            while self._held:
                waiting, self._held = self._held, deque()
                yield from self._pass(self._next_slots(waiting))
            for index in [*self._chains][:-1]:  # the last one may go on in the next slice
                del self._chains[index]

    def _pass(self, slots: Iterable[Slot]) -> Iterator[None]:
        for batch in cut(slots, self._loop.sizes):
            self._loop.render(batch, self._take)
            yield

    def _first_slots(self, rows: Iterable[LoadedInputs]) -> Iterator[Slot]:
        for loaded in rows:
            row = loaded.row
            if row.then:
                self._chains[row.index] = _Chain(row, loaded.stage_masks)
            slot = Slot(
                row.at_stage(0),
                0,
                row.seed,
                loaded.image,
                loaded.mask,
                chained=bool(row.then),
                held_bytes=held_bytes(row),
            )
            for number in range(row.num_images):
                yield replace(slot, number=number, seed=row.seed + number)

    def _take(self, made: Made) -> None:
        """One image is rendered: commit what is kept of it, and hold what goes on."""
        slot, image = made.slot, made.image
        if slot.flagged_before and not image.flagged:
            image = replace(image, flagged=True)
        self._committer.add(
            slot, image, batch_size=made.batch_size, place=made.place, render=made.render, share=made.share
        )
        chain = self._chains.get(slot.row.index)
        if chain is None or slot.stage == len(chain.row.then):
            return
        if image.dropped:
            self._drop(chain, made)
            return
        height, width = image.pixels.shape[:2]
        record = StageRecord(
            seed=slot.seed,
            width=width,
            height=height,
            batch_size=made.batch_size,
            slot=made.place,
            render=made.render,
        )
        # Without the stage's own inputs, which nobody needs any more.
        self._held.append(_Held(replace(slot, image=None, mask=None), image, record))

    def _drop(self, chain: _Chain, made: Made) -> None:
        """An image that the safety checker dropped goes no further: what it would have become is dropped too."""
        last = len(chain.row.then)
        view = chain.row.at_stage(last)
        blank = np.broadcast_to(np.uint8(0), (view.height or 1, view.width or 1, _RGB))
        slot = replace(made.slot, row=view, seed=view.seed + made.slot.number, stage=last)
        image = Rendered(blank, flagged=True, dropped=True)
        self._committer.add(slot, image, batch_size=made.batch_size, place=made.place, render=None, share=0.0)

    def _next_slots(self, waiting: deque[_Held]) -> Iterator[Slot]:
        """The slots of the next stage, those with one batch key together; an image is let go of once it is in one."""
        keyed: dict[object, deque[_Held]] = {}
        while waiting:
            held = waiting.popleft()
            stage = self._chains[held.slot.row.index].row.at_stage(held.slot.stage + 1)
            keyed.setdefault(stage.batch_key(), deque()).append(held)
        for same in keyed.values():
            while same:
                held = same.popleft()
                if self._committer.is_open(held.slot.row):
                    yield self._next_slot(held)

    def _next_slot(self, held: _Held) -> Slot:
        number, stage = held.slot.number, held.slot.stage + 1
        chain = self._chains[held.slot.row.index]
        view = chain.row.at_stage(stage)
        image = fit(Image.fromarray(held.image.pixels), *input_size(view))
        return Slot(
            view,
            number,
            view.seed + number,
            image,
            chain.masks.get(stage),
            stage=stage,
            chained=True,
            before=(*held.slot.before, held.record),
            flagged_before=bool(held.image.flagged),
        )


def input_size(view: PlannedRow) -> tuple[int, int]:
    """The size in pixels at which a stage takes its image.

    Args:
        view: a stage as a row (`PlannedRow.at_stage`), its size known.
    """
    width, height = view.width or USUAL_SIDE, view.height or USUAL_SIDE
    factor = UPSCALE_FACTOR if view.pipeline == "upscale" else 1
    return width // factor, height // factor


def held_bytes(row: PlannedRow) -> int:
    """Most that one image of a row takes between its stages, in bytes: one stage's input and its output, and masks."""
    if not row.then:
        return 0
    views = [row.at_stage(number) for number in range(row.stage_count)]
    sizes = [(view.width or USUAL_SIDE) * (view.height or USUAL_SIDE) for view in views]
    masks = sum(size for size, view in zip(sizes[1:], views[1:], strict=True) if view.mask)
    held = sizes[:-1]  # what the last stage makes goes straight to its upload
    return _RGB * max(map(sum, zip(held, [*held[1:], 0], strict=True))) + masks


def _slices(most: int) -> Callable[[Slot], int]:
    """Numbers slots by their slice: one ends where the next image would make it more than `most` bytes."""
    number = held = 0

    def slice_of(slot: Slot) -> int:
        nonlocal number, held
        needed = slot.held_bytes
        if held and held + needed > most:
            number, held = number + 1, 0
        held += needed
        return number

    return slice_of
