"""Finished images go up in the background while the next batch denoises; then the piece that names them.

Images first, then the piece: a piece never names an object that is not there. A row stands in a piece with all of
its images or not at all, so a row that was cut short leaves orphans, never half an outcome.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Self

from schemas import keys
from schemas.errors import RenderFailed, RowError
from schemas.planned import PlannedRow
from schemas.result import ImageResult, RenderInfo, ResultLine, RowFailure
from schemas.rows import stage_field
from schemas.task import TaskMessage
from services import jobs
from services.failpoints import failpoint
from services.image_metadata.record import image_record
from services.store import ObjectStore
from workers.encoding import CONTENT_TYPES, encode
from workers.engines.base import Rendered, Slot
from workers.open_rows import OpenRow, outage

log = logging.getLogger(__name__)
IMAGES_AHEAD = 16  # images that may wait for their upload before the denoising loop does
MAX_MESSAGE = 2000


class Committer:
    """Collects one task's rows, uploads their images, writes its pieces. Used by one thread.

    Raises, from any method, what an upload raised: a store that is away ends the task, never the row.
    """

    def __init__(
        self,
        store: ObjectStore,
        message: TaskMessage,
        *,
        token: str,
        worker: str,
        version: str,
        threads: int,
        piece_seconds: float,
        on_progress: Callable[[], None],
    ) -> None:
        self._store = store
        self._message = message
        self._token = token
        self._worker = worker
        self._version = version
        self._piece_seconds = piece_seconds
        self._on_progress = on_progress
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._room = threading.Semaphore(IMAGES_AHEAD)
        self._open: dict[int, OpenRow] = {}
        self._failed: list[ResultLine] = []
        self._pieces = 0
        self._written = time.monotonic()
        self.committed: dict[int, ResultLine] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def job(self) -> str:
        return self._message.job

    @property
    def rows_done(self) -> int:
        """Rows of this task that have all their images, committed or about to be; not the failed ones."""
        ready = sum(entry.is_ready for entry in self._open.values())
        return ready + sum(line.status == "done" for line in self.committed.values())

    @property
    def images_up(self) -> int:
        """Images of this task that are rendered, through their last stage, and uploaded."""
        waiting = sum(entry.images_up for entry in self._open.values())
        return waiting + sum(len(line.final_images) for line in self.committed.values())

    def is_open(self, row: PlannedRow) -> bool:
        """Whether the row has not failed, so that more of its images are worth rendering."""
        return row.index in self._open

    def begin(
        self, row: PlannedRow, inputs: Mapping[str, str], stage_masks: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        """A row's first image is about to come; arguments as in `OpenRow`."""
        self._open[row.index] = OpenRow(row, inputs, stage_masks)

    def warn(self, row: PlannedRow, warnings: tuple[str, ...], *, stage: int = 0) -> None:
        """What the row's user should know although it renders."""
        self._open[row.index].warn(stage, warnings)

    def add(
        self, slot: Slot, image: Rendered, *, batch_size: int, place: int, render: RenderInfo | None, share: float
    ) -> None:
        """One image of one stage is rendered; encode and upload it, if it is kept.

        Args:
            render: of its loop; None: it was dropped at an earlier stage, and came to none.
            share: its part of the loop's seconds.
        """
        entry = self._open[slot.row.index]
        if render is not None:
            entry.note(slot.stage, render, share)
        if not entry.keeps(slot.stage):
            return
        while not self._room.acquire(timeout=1.0):
            self.check()
        future = self._pool.submit(self._upload, entry, slot, image, batch_size, place, render)
        future.add_done_callback(lambda _: self._room.release())
        entry.uploads[slot.number, slot.stage] = future

    def fail(self, row: PlannedRow, error: RowError, *, stage: int = 0) -> None:
        """The row failed, at a stage: none of its images is named."""
        entry = self._open.pop(row.index, None)
        where = _stage_name(entry.row, stage) if entry and entry.row.then else ""
        self._failed.append(self._failed_line(row, entry, error, where))

    def write_if_due(self) -> None:
        """Write a piece if the last one is `piece_seconds` old."""
        if time.monotonic() - self._written >= self._piece_seconds:
            self.write(wait=False)

    def write(self, *, wait: bool) -> None:
        """Commit every row that has all its images; with `wait`, those that are still going up as well.

        An upload that failed keeps its own row back, not the others; with `wait` it is raised once they are written.
        """
        if wait:
            futures.wait([upload for entry in self._open.values() for upload in entry.uploads.values()])
        failed = [*self._failed]
        done = [self._done_line(entry) for entry in self._open.values() if entry.is_ready]
        if failed or done:
            self._write_piece([*failed, *done])
            del self._failed[: len(failed)]
        self._written = time.monotonic()
        self._on_progress()
        if wait:
            self.check()

    def _write_piece(self, lines: list[ResultLine]) -> None:
        """Its number is used up before it is sent: a PUT that seems to fail may be in the store all the same, and no
        piece is ever overwritten. Its rows are let go only after it, so that another piece takes them.
        """
        message, number = self._message, self._pieces
        self._pieces += 1
        failpoint("commit.imaged")
        key = keys.piece(message.job, message.part, message.task, self._token, number)
        jobs.write_piece(self._store, key, lines)
        failpoint("commit.written")
        for line in lines:
            self._open.pop(line.index, None)
            self.committed[line.index] = line

    def check(self) -> None:
        """Raise what an upload raised in the background."""
        for entry in self._open.values():
            for upload in entry.uploads.values():
                error = outage(upload)
                if error is not None:
                    raise error

    def _done_line(self, entry: OpenRow) -> ResultLine:
        try:
            images = tuple(entry.uploads[place].result() for place in sorted(entry.uploads))
        except RowError as error:
            return self._failed_line(entry.row, entry, error)
        return self._line(entry.row, "done", entry).model_copy(update={"images": images})

    def _failed_line(self, row: PlannedRow, entry: OpenRow | None, error: RowError, where: str = "") -> ResultLine:
        told = where + error.message
        log.warning("failed job=%s row=%s class=%s: %s", self._message.job, row.id, error.error_class, told)
        told += f" ({error.hint})" if error.hint else ""
        failure = RowFailure(
            error_class=error.error_class, message=told[:MAX_MESSAGE], attempts=self._message.attempt + 1
        )
        return self._line(row, "failed", entry).model_copy(update={"failure": failure})

    def _line(self, row: PlannedRow, status: str, entry: OpenRow | None) -> ResultLine:
        found: dict[str, object] = {
            "index": row.index,
            "id": row.id,
            "status": status,
            "attempts": self._message.attempt + 1,
            "worker": self._worker,
            "token": self._token,
            "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        return ResultLine.model_validate(found | (entry or OpenRow(row, {})).result())

    def _upload(
        self, entry: OpenRow, slot: Slot, image: Rendered, batch_size: int, place: int, render: RenderInfo | None
    ) -> ImageResult:
        height, width = image.pixels.shape[:2]
        result = ImageResult(
            image=slot.number,
            stage=slot.stage,
            seed=slot.seed,
            key=None,
            sha256=None,
            bytes=None,
            width=width,
            height=height,
            flagged=image.flagged,
            dropped=image.dropped,
            batch_size=batch_size,
            slot=place,
        )
        if image.dropped or render is None:
            return result
        data = self._encode(entry, slot, image, batch_size, place, render)
        message, row = self._message, slot.row
        stage = None if slot.stage == entry.last_stage else slot.stage
        key = keys.image(message.job, message.part, row.index, slot.number, self._token, row.format, stage=stage)
        self._store.put(key, data, CONTENT_TYPES[row.format])
        failpoint("commit.image")
        self._on_progress()
        digest = hashlib.sha256(data).hexdigest()
        return result.model_copy(update={"key": key, "sha256": digest, "bytes": len(data)})

    def _encode(
        self, entry: OpenRow, slot: Slot, image: Rendered, batch_size: int, place: int, render: RenderInfo
    ) -> bytes:
        height, width = image.pixels.shape[:2]
        try:
            record = image_record(
                entry.row,
                number=slot.number,
                seed=slot.seed,
                width=width,
                height=height,
                batch_size=batch_size,
                slot=place,
                inputs=entry.inputs,
                render=render,
                before=slot.before,
                stage_masks=entry.stage_masks,
                version=self._version,
            )
            return encode(image.pixels, slot.row, record)
        except RowError:
            raise
        except Exception as error:  # whatever it is: one image of one row cannot be written, and no other
            raise RenderFailed(f"the image cannot be encoded as {slot.row.format}: {error}") from error


def _stage_name(row: PlannedRow, stage: int) -> str:
    pipeline = row.stages()[stage][0]
    return f"stage {stage} ({pipeline}): " if stage == 0 else f"stage {stage} ({stage_field(stage - 1)}, {pipeline}): "
