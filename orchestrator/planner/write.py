"""The plan as objects: parts of rows in task order, and the task table. Memory holds a few parts."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from orchestrator.planner.group import Plannable
from schemas import keys
from schemas.job import Totals
from services import jobs

PART_IMAGES = 1000  # a part's images lie in one folder, which simple stores rescan for every page of a listing
TASK_BYTES = 16 * 2**20  # a worker holds its task's rows in memory
UPLOADS = 8


class PlanCounter:
    """Counts what a plan holds, task by task."""

    def __init__(self) -> None:
        self._rows = self._images = self._earlier = self._tasks = self._batches = 0
        self._units = 0.0
        self._batch_key: tuple[object, ...] | None = None

    def add(self, task: Sequence[Plannable]) -> None:
        """Count one task's rows."""
        self._tasks += 1
        self._rows += len(task)
        for row in task:
            images = row.num_images
            self._images += images
            self._earlier += row.kept_images() - images
            self._units += row.units()
            key = row.batch_key()
            if key is not self._batch_key and key != self._batch_key:
                self._batch_key = key
                self._batches += 1

    def totals(self, *, parts: int = 0) -> Totals:
        """What was counted so far."""
        return Totals(
            rows=self._rows,
            images=self._images,
            earlier_images=self._earlier,
            units=round(self._units, 6),
            tasks=self._tasks,
            parts=parts,
            batches=self._batches,
        )


class PlanWriter:
    """Writes one plan (the first, or a retry's). A context: leaving it waits for the uploads.

    Args:
        first_task, first_part: numbers of the first task and part; a retry goes on after all earlier ones.
        resume: parts that are there already, with the same content, are not sent again.
    """

    def __init__(
        self,
        store: jobs.PlanStore,
        job: str,
        *,
        round_id: str | None = None,
        first_task: int = 0,
        first_part: int = 0,
        resume: bool = False,
    ) -> None:
        self._store = store
        self._job = job
        self._round_id = round_id
        self._first_task = first_task
        self._first_part = first_part
        self._put = store.put_missing if resume else store.put
        self._part = first_part
        self._lines: list[bytes] = []
        self._bytes = 0
        self._part_images = 0
        self._table = jobs.TaskTable()
        self._counter = PlanCounter()
        self._pool = ThreadPoolExecutor(UPLOADS, thread_name_prefix="plan")
        self._uploads: deque[Future[object]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)

    def add(self, task: Sequence[Plannable]) -> None:
        """Add one task's rows; as several tasks where they take more than `TASK_BYTES`."""
        lines = [row.line() for row in task]
        start = size = 0
        for place, line in enumerate(lines):
            if size and size + len(line) > TASK_BYTES:
                self._add(task[start:place], lines[start:place])
                start, size = place, 0
            size += len(line)
        self._add(task[start:], lines[start:])

    def _add(self, task: Sequence[Plannable], lines: list[bytes]) -> None:
        length = sum(map(len, lines))
        files = sum(row.kept_images() for row in task)
        if self._lines and self._part_images + files > PART_IMAGES:
            self._close_part()
        self._table.add(
            task=self._first_task + len(self._table),
            part=self._part,
            offset=self._bytes,
            length=length,
            rows=len(task),
            images=sum(row.num_images for row in task),
            units=sum(row.units() for row in task),
            stages=task[0].stages(),
        )
        self._counter.add(task)
        self._lines += lines
        self._bytes += length
        self._part_images += files

    @property
    def tasks(self) -> int:
        """Tasks added so far."""
        return len(self._table)

    def finish(self) -> Totals:
        """Send what is left, then the task table; returns what the plan holds."""
        if self._lines:
            self._close_part()
        while self._uploads:
            self._uploads.popleft().result()
        jobs.write_tasks(self._store, self._job, self._table, self._round_id)
        return self._counter.totals(parts=self._part - self._first_part)

    def _close_part(self) -> None:
        key = keys.plan_part(self._job, self._part, self._round_id)
        self._uploads.append(self._pool.submit(self._put, key, b"".join(self._lines), jobs.JSON_LINES))
        self._lines, self._bytes, self._part_images = [], 0, 0
        self._part += 1
        while len(self._uploads) > UPLOADS:  # memory holds so many parts and no more
            self._uploads.popleft().result()
