"""Steps that many tests of the runner take."""

from collections import Counter
from collections.abc import Callable, Sequence

from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.rebuild import open_in_ledger
from schemas import keys
from schemas.errors import StoreUnavailable
from schemas.planned import PlannedRow
from schemas.result import ResultLine
from services import jobs
from services.settings import WorkerSettings
from tests.small_mill import JOB, SmallMill, write_job
from workers.engines.base import Rendered, Slot
from workers.engines.flat import FlatRoom


class Watched(FlatRoom):
    """The flat engine, which notes every batch and does something after a step."""

    def __init__(
        self, mill: SmallMill, after_step: Callable[[int], None] = lambda step: None, max_batch: int = 8
    ) -> None:
        super().__init__(mill.settings.model_copy(update={"worker": WorkerSettings(max_batch=max_batch)}))
        self.batches: list[list[tuple[int, int]]] = []
        self.steps = 0
        self.after_step = after_step

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        def step() -> None:
            self.steps += 1
            self.after_step(self.steps)
            on_step()

        found = super().render(slots, step)
        self.batches.append([(slot.row.index, slot.number) for slot in slots])
        return found

    @property
    def images(self) -> Counter[int]:
        """Images rendered, by row."""
        return Counter(index for batch in self.batches for index, _ in batch)


def open_job(mill: SmallMill, tasks: list[list[PlannedRow]]) -> ActiveJob:
    write_job(mill.store, tasks)
    active = ActiveJob.load(mill.store, JOB)
    open_in_ledger(active, mill.ledger, hold_seconds=0)
    mill.ledger.take({JOB: 100})[JOB]
    return active


def outcomes(mill: SmallMill, task: int = 0) -> dict[int, str]:
    found = jobs.task_outcomes(mill.store, JOB, 0, task)
    return {index: line.failure.error_class if line.failure else line.status for index, line in sorted(found.items())}


def counts(mill: SmallMill) -> tuple[int, int, int, int]:
    progress = mill.progress()
    return progress.counted, progress.done, progress.failed, progress.images


def commit(mill: SmallMill, rows: list[PlannedRow], status: str = "done", number: int = 0) -> None:
    """An earlier worker finished these rows."""
    lines = [
        ResultLine.model_validate({"index": row.index, "id": row.id, "status": status, "token": "0" * 16})
        for row in rows
    ]
    jobs.write_piece(mill.store, keys.piece(JOB, 0, 0, "0" * 16, number), lines)


def refuse(verb: str, part: str) -> Callable[[str, str], StoreUnavailable | None]:
    return lambda asked, key: StoreUnavailable("away") if asked == verb and part in key else None
