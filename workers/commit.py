"""Finished images go up in the background while the next batch denoises; then the piece that names them.

Images first, then the piece: a piece never names an object that is not there. A row stands in a piece with all of
its images or not at all, so a row that was cut short leaves orphans, never half an outcome.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from schemas import keys
from schemas.errors import RenderFailed, RowError
from schemas.planned import PlannedRow
from schemas.result import ImageResult, RenderInfo, ResultLine, RowFailure
from schemas.task import TaskMessage
from services import jobs
from services.failpoints import failpoint
from services.image_metadata.record import image_record
from services.store import ObjectStore
from workers.encoding import CONTENT_TYPES, encode
from workers.engines.base import Rendered, Slot

log = logging.getLogger(__name__)
IMAGES_AHEAD = 16  # images that may wait for their upload before the denoising loop does
MAX_MESSAGE = 2000


@dataclass
class _OpenRow:
    row: PlannedRow
    inputs: dict[str, str]
    render: RenderInfo | None = None
    uploads: dict[int, Future[ImageResult]] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


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
        self._open: dict[int, _OpenRow] = {}
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
        ready = sum(self._is_ready(entry) for entry in self._open.values())
        return ready + sum(line.status == "done" for line in self.committed.values())

    @property
    def images_up(self) -> int:
        """Images of this task that are rendered and uploaded."""
        waiting = sum(upload.done() for entry in self._open.values() for upload in entry.uploads.values())
        return waiting + sum(len(line.images) for line in self.committed.values())

    def is_open(self, row: PlannedRow) -> bool:
        """Whether the row has not failed, so that more of its images are worth rendering."""
        return row.index in self._open

    def begin(self, row: PlannedRow, inputs: dict[str, str]) -> None:
        """A row's first image is about to come."""
        self._open[row.index] = _OpenRow(row, inputs)

    def warn(self, row: PlannedRow, warnings: tuple[str, ...]) -> None:
        """What the row's user should know although it renders."""
        self._open[row.index].warnings = warnings

    def add(
        self, slot: Slot, image: Rendered, *, batch_size: int, place: int, render: RenderInfo, share: float
    ) -> None:
        """One image is rendered; encode and upload it. `share` is its part of the loop's seconds."""
        entry = self._open[slot.row.index]
        entry.render = render
        entry.seconds += share
        while not self._room.acquire(timeout=1.0):
            self.check()
        future = self._pool.submit(self._upload, entry, slot, image, batch_size, place)
        future.add_done_callback(lambda _: self._room.release())
        entry.uploads[slot.number] = future

    def fail(self, row: PlannedRow, error: RowError) -> None:
        """The row failed: none of its images is named."""
        self._failed.append(self._failed_line(row, self._open.pop(row.index, None), error))

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
        lines = [*self._failed]
        for index, entry in list(self._open.items()):
            if self._is_ready(entry):
                lines.append(self._done_line(entry))
                del self._open[index]
        if lines:
            message = self._message
            key = keys.piece(message.job, message.part, message.task, self._token, self._pieces)
            failpoint("commit.imaged")
            jobs.write_piece(self._store, key, lines)
            failpoint("commit.written")
            self._pieces += 1
            self._failed.clear()
            self.committed.update((line.index, line) for line in lines)
        self._written = time.monotonic()
        self._on_progress()
        if wait:
            self.check()

    def check(self) -> None:
        """Raise what an upload raised in the background."""
        for entry in self._open.values():
            for upload in entry.uploads.values():
                error = _outage(upload)
                if error is not None:
                    raise error

    @staticmethod
    def _is_ready(entry: _OpenRow) -> bool:
        uploads = entry.uploads.values()
        up = all(upload.done() and _outage(upload) is None for upload in uploads)
        return up and len(uploads) == entry.row.num_images

    def _done_line(self, entry: _OpenRow) -> ResultLine:
        try:
            images = tuple(entry.uploads[number].result() for number in sorted(entry.uploads))
        except RowError as error:
            return self._failed_line(entry.row, entry, error)
        return self._line(entry.row, "done", entry).model_copy(update={"images": images})

    def _failed_line(self, row: PlannedRow, entry: _OpenRow | None, error: RowError) -> ResultLine:
        log.warning("failed job=%s row=%s class=%s: %s", self._message.job, row.id, error.error_class, error.message)
        told = f"{error.message} ({error.hint})" if error.hint else error.message
        failure = RowFailure(
            error_class=error.error_class, message=told[:MAX_MESSAGE], attempts=self._message.attempt + 1
        )
        return self._line(row, "failed", entry).model_copy(update={"failure": failure})

    def _line(self, row: PlannedRow, status: str, entry: _OpenRow | None) -> ResultLine:
        return ResultLine.model_validate(
            {
                "index": row.index,
                "id": row.id,
                "status": status,
                "render": entry.render if entry else None,
                "inputs": entry.inputs if entry else {},
                "width": row.width,
                "height": row.height,
                "warnings": entry.warnings if entry else (),
                "attempts": self._message.attempt + 1,
                "worker": self._worker,
                "token": self._token,
                "seconds": round(entry.seconds, 4) if entry else 0.0,
                "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
        )

    def _upload(self, entry: _OpenRow, slot: Slot, image: Rendered, batch_size: int, place: int) -> ImageResult:
        height, width = image.pixels.shape[:2]
        result = ImageResult(
            image=slot.number,
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
        if image.dropped:
            return result
        data = self._encode(entry, slot, image, batch_size, place)
        message, row = self._message, slot.row
        key = keys.image(message.job, message.part, row.index, slot.number, self._token, row.format)
        self._store.put(key, data, CONTENT_TYPES[row.format])
        failpoint("commit.image")
        self._on_progress()
        digest = hashlib.sha256(data).hexdigest()
        return result.model_copy(update={"key": key, "sha256": digest, "bytes": len(data)})

    def _encode(self, entry: _OpenRow, slot: Slot, image: Rendered, batch_size: int, place: int) -> bytes:
        height, width = image.pixels.shape[:2]
        assert entry.render is not None
        record = image_record(
            slot.row,
            number=slot.number,
            seed=slot.seed,
            width=width,
            height=height,
            batch_size=batch_size,
            slot=place,
            inputs=entry.inputs,
            render=entry.render,
            version=self._version,
        )
        try:
            return encode(image.pixels, slot.row, record)
        except RowError:
            raise
        except Exception as error:  # whatever it is: one image of one row cannot be written, and no other
            raise RenderFailed(f"the image cannot be encoded as {slot.row.format}: {error}") from error


def _outage(upload: Future[ImageResult]) -> BaseException | None:
    """What ended an upload that is not its row's fault."""
    error = upload.exception() if upload.done() else None
    return None if isinstance(error, RowError) else error
