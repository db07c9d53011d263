"""The ledger of a job, made again from what the store says. Loses nothing; at most what was in flight renders again."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orchestrator.dispatch.active_job import ActiveJob
from schemas import keys
from schemas.job import JobDocument
from schemas.planned import PlannedRow
from schemas.result import ResultLine, best, rendered_units
from services import jobs
from services.ledger import CountDelta, Ledger
from services.store import ObjectStore

READERS = 16


@dataclass
class _Tally:
    counted: bytearray
    done: int = 0
    failed: int = 0
    images: int = 0
    units: float = 0.0


def open_in_ledger(
    active: ActiveJob,
    ledger: Ledger,
    *,
    hold_seconds: float,
    settle_seconds: float | None = None,
    forgotten: bool = False,
) -> bool:
    """Make a job known to the ledger, unless it is. True where this call did.

    There may be living workers, whose leases Redis has forgotten. For `settle_seconds` (None: as `hold_seconds`) a
    cancelled job waits for them: a worker that did not take up its lease again by then is dead. And where the last
    round has pieces, or the ledger knew the job a moment ago (`forgotten`), nothing is published for `hold_seconds`, so
    that what they have in hand is not rendered twice. Earlier rounds ended before the last one began.
    """
    tally = _Tally(bytearray((active.tasks + 7) // 8))
    found_pieces = False
    # A fresh job has none: one look at the folder instead of one for each part.
    rounds = active.rounds if next(active.store.list(keys.results_folder(active.job)), None) else []
    with ThreadPoolExecutor(READERS) as readers:
        for plan in rounds:
            found_pieces = False
            for part in range(plan.first_part, plan.first_part + plan.parts):
                found_pieces |= _tally_part(active, plan.round_id, part, tally, readers)
    failed = tally.failed - active.retried_rows
    return ledger.open(
        active.job,
        tasks=active.tasks,
        priority=active.control.priority,
        counted=bytes(tally.counted),
        retried=active.retried_rows,
        counts=CountDelta(tally.done, failed, tally.images, tally.units),
        hold_seconds=hold_seconds if found_pieces or forgotten else 0,
        settle_seconds=hold_seconds if settle_seconds is None else settle_seconds,
    )


def forget_finished(store: ObjectStore, ledger: Ledger, document: JobDocument) -> None:
    """A finished job can still stand in the ledger: its orchestrator or Redis was killed before it was dropped."""
    if ledger.progress(document.job) is not None:
        last = jobs.read_rounds(store, document)[-1]
        ledger.drop(document.job, tasks=last.first_task + last.tasks)


def _tally_part(active: ActiveJob, round_id: str | None, part: int, tally: _Tally, readers: ThreadPoolExecutor) -> bool:
    pieces = []
    for info in active.store.list(keys.part_results_folder(active.job, part)):
        try:
            piece = keys.parse_piece(info.key)
        except ValueError:
            continue
        if piece.task < active.tasks:
            pieces.append(piece)
    if not pieces:
        return False
    plan = active.store.get(keys.plan_part(active.job, part, round_id))
    names = [keys.piece(*piece) for piece in pieces]
    by_task: dict[int, dict[int, list[ResultLine]]] = {}
    for piece, lines in zip(pieces, readers.map(lambda key: jobs.read_piece(active.store, key), names), strict=True):
        rows = by_task.setdefault(piece.task, {})
        for line in lines:
            rows.setdefault(line.index, []).append(line)
    for task, rows in by_task.items():
        record = active.record(task)
        # By the rows of the plan, not by their number: a garbage message may have brought others' rows here.
        wanted = jobs.parse_rows(plan[record.offset : record.offset + record.length])
        if record.part == part and all(row.index in rows for row in wanted):
            lines = [best(rows[row.index]) for row in wanted]
            _count_task(task, lines, rendered_units(wanted, lines), tally)
    return True


def _count_task(task: int, lines: list[ResultLine], units: float, tally: _Tally) -> None:
    tally.counted[task // 8] |= 0x80 >> (task % 8)  # Redis counts a byte's bits from the highest
    tally.units += units
    for line in lines:
        tally.done += line.status == "done"
        tally.failed += line.status == "failed"
        tally.images += len(line.final_images)


def rows_of_task(active: ActiveJob, task: int) -> list[PlannedRow]:
    """A task's rows as planned.

    Raises:
        ObjectMissing, UnreadableObject: the plan is damaged.
    """
    return jobs.read_rows(active.store, active.message(str(task), 0))
