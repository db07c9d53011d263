"""One task from its lease to its last piece. Plain functions: no Celery here.

The order is what makes a kill harmless: rows that already have an outcome are skipped; images are written before
the piece that names them; the ledger counts the task only when all its rows stand in pieces.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Literal

from schemas.errors import (
    InvalidInput,
    LedgerUnavailable,
    ObjectMissing,
    RowError,
    ServiceError,
    UnreadableObject,
)
from schemas.planned import PlannedRow
from schemas.result import ResultLine, rendered_units
from schemas.task import TaskMessage
from services import jobs
from services.failpoints import failpoint
from services.ledger import CountDelta, Ledger
from services.settings import WorkerSettings
from services.store import ObjectStore
from workers.batches import BatchSizes
from workers.commit import Committer
from workers.engines.base import DeviceLost, Interrupted, Renderer
from workers.input_source import InputSource
from workers.inputs import LoadedInputs, check_output, load_inputs
from workers.keeper import LeaseKeeper
from workers.loop import Loop, ModelElsewhere
from workers.stages import Stages

log = logging.getLogger(__name__)
RowsDone = Literal["counted", "given_back", "refused"]
_Outcome = tuple[list[PlannedRow], list[ResultLine]]
INPUT_READERS = 4
ROWS_AHEAD = 8  # rows whose inputs are read while earlier ones render
COUNT_PATIENCE_SECONDS = 60.0
OUTAGE_DELAY_SECONDS = 15.0
ELSEWHERE_SECONDS = 2.0


@dataclass(frozen=True)
class Workplace:
    """What a task needs; made once per process."""

    store: ObjectStore
    ledger: Ledger
    renderer: Renderer
    sizes: BatchSizes
    settings: WorkerSettings
    worker: str
    version: str
    stopping: threading.Event
    inputs: InputSource
    max_pixels: Mapping[str, int]


def run_task(message: TaskMessage, place: Workplace) -> RowsDone:
    """Render what a message names, unless somebody else did or does.

    Never raises for what a row, the store or Redis did: a task that cannot be finished is given back. What nobody
    foresaw counts as a loss, so that it does not come back for ever.
    """
    failpoint("worker.received")
    token = _lease(message, place)
    if token is None:
        return "refused"
    keeper = LeaseKeeper(
        place.ledger,
        job=message.job,
        member=message.member,
        token=token,
        worker=place.worker,
        lease_seconds=place.settings.lease_seconds,
        stall_seconds=place.settings.stall_seconds,
        stopping=place.stopping,
    )
    started = time.monotonic()
    failpoint("worker.leased")
    with keeper:
        outcome, trouble = _attempt(message, token, place, keeper)
        if outcome is not None:
            counted = _count(message, outcome, place, keeper)
            told = "counted" if counted else "committed, and left to be counted,"
            log.info("%s job=%s task=%s seconds=%.2f", told, message.job, message.member, time.monotonic() - started)
            return "counted"
    # After the keeper has ended: a renewal that came later would take the lease up again, for nobody.
    level = logging.ERROR if trouble.text else logging.INFO
    log.log(level, "given back job=%s task=%s: %s", message.job, message.member, trouble.text or keeper.reason)
    _give_back(message, token, place, trouble)
    if trouble.elsewhere:
        place.stopping.wait(ELSEWHERE_SECONDS)  # or this worker would take them all first, only to give them back
    return "given_back"


@dataclass(frozen=True)
class _Trouble:
    """Why a task ended early, where nobody asked for it.

    Attributes:
        unforeseen: it counts as a loss.
    """

    text: str = ""
    delay: float = 0.0
    suspect: bool = False
    elsewhere: bool = False
    unforeseen: bool = False


def _attempt(
    message: TaskMessage, token: str, place: Workplace, keeper: LeaseKeeper
) -> tuple[_Outcome | None, _Trouble]:
    try:
        return _render(message, token, place, keeper), _Trouble()
    except ServiceError as error:
        suspect, elsewhere = isinstance(error, ObjectMissing | UnreadableObject), isinstance(error, ModelElsewhere)
        return None, _Trouble(error.message, OUTAGE_DELAY_SECONDS, suspect, elsewhere)
    except Exception as error:
        log.exception("task %s of %s broke off", message.member, message.job)
        return None, _Trouble(f"{type(error).__name__}: {error}", unforeseen=True)


def _lease(message: TaskMessage, place: Workplace) -> str | None:
    seconds = place.settings.lease_seconds
    try:
        lease = place.ledger.lease(message.job, message.member, worker=place.worker, seconds=seconds)
    except LedgerUnavailable as error:  # the dispatcher misses the message, and publishes it again
        log.warning("task %s of %s refused: %s", message.member, message.job, error.message)
        return None
    if lease.answer != "granted":
        log.info("task %s of %s refused: %s", message.member, message.job, lease.answer)
        return None
    return lease.token


def _render(message: TaskMessage, token: str, place: Workplace, keeper: LeaseKeeper) -> _Outcome | None:
    """Rows and their outcomes, or None where some rows have none yet."""
    rows = jobs.read_rows(place.store, message)
    known = jobs.task_outcomes(place.store, message.job, message.part, message.task)
    todo = [row for row in rows if row.index not in known]
    before = [known[row.index] for row in rows if row.index in known and known[row.index].status == "done"]
    with Committer(
        place.store,
        message,
        token=token,
        worker=place.worker,
        version=place.version,
        threads=place.settings.upload_threads,
        piece_seconds=place.settings.piece_seconds,
        on_progress=keeper.touch,
    ) as committer:
        try:
            nobody_has = partial(place.ledger.nobody_has, message.job, worker=place.worker)
            loop = Loop(place.renderer, place.sizes, keeper, committer, nobody_has)
            stages = Stages(loop, committer, place.settings.held_bytes)
            for _ in stages.render(_begun(todo, place, keeper, committer)):
                committer.check()
                committer.write_if_due()
                _report(before, committer, keeper)
                if keeper.reason is not None:
                    break
        except Interrupted:
            log.info("task %s of %s interrupted: %s", message.member, message.job, keeper.reason)
        except (DeviceLost, Exception):
            with suppress(ServiceError):  # the process must end, whatever the store says
                committer.write(wait=True)  # what is finished stays so
            raise
        committer.write(wait=True)
        found = known | committer.committed
    lines = [found[row.index] for row in rows if row.index in found]
    return (rows, lines) if len(lines) == len(rows) else None


def _report(before: list[ResultLine], committer: Committer, keeper: LeaseKeeper) -> None:
    """How far the task is, with what earlier leases of it finished."""
    images = sum(len(line.final_images) for line in before)
    keeper.progress(rows=len(before) + committer.rows_done, images=images + committer.images_up)


def _begun(
    rows: Sequence[PlannedRow], place: Workplace, keeper: LeaseKeeper, committer: Committer
) -> Iterator[LoadedInputs]:
    """Every row with its inputs, which are loaded some rows ahead. Rows whose inputs are bad fail here."""
    for loaded in _loaded(rows, place, committer):
        committer.begin(loaded.row, loaded.sha256, loaded.stage_masks_sha256)
        keeper.touch()
        yield loaded


def _loaded(rows: Sequence[PlannedRow], place: Workplace, committer: Committer) -> Iterator[LoadedInputs]:
    limits = place.settings.image_limits
    readers = ThreadPoolExecutor(INPUT_READERS, thread_name_prefix="inputs")
    try:
        ahead = [readers.submit(load_inputs, place.inputs, row, limits) for row in rows[:ROWS_AHEAD]]
        for position, row in enumerate(rows):
            future = ahead.pop(0)
            following = position + ROWS_AHEAD
            if following < len(rows):
                ahead.append(readers.submit(load_inputs, place.inputs, rows[following], limits))
            try:
                loaded = future.result()
                check_output(loaded.row, place.max_pixels)
            except ServiceError:
                raise
            except Exception as error:  # whatever a file may do: it is one row's
                committer.fail(row, _bad_input(row, error))
                continue
            yield loaded
    finally:
        # Not waited for: a task that is left early has finished rows to commit.
        readers.shutdown(wait=False, cancel_futures=True)


def _bad_input(row: PlannedRow, error: Exception) -> RowError:
    if isinstance(error, RowError):
        return error
    log.exception("an input of row %s", row.id, exc_info=error)
    return InvalidInput(f"an input cannot be used: {type(error).__name__}: {error}")


def _count(message: TaskMessage, outcome: _Outcome, place: Workplace, keeper: LeaseKeeper) -> bool:
    """Count the task; False where Redis stays away. Its rows stand in pieces already: that costs a second look."""
    delta = _delta(*outcome)
    deadline = time.monotonic() + COUNT_PATIENCE_SECONDS
    while True:
        try:
            place.ledger.count(message.job, message.member, delta)
        except LedgerUnavailable as error:
            if time.monotonic() > deadline or place.stopping.is_set():
                log.warning("task %s of %s not counted: %s", message.member, message.job, error.message)
                return False
            keeper.touch()
            time.sleep(1.0)
        else:
            failpoint("worker.counted")
            return True


def _delta(rows: list[PlannedRow], lines: list[ResultLine]) -> CountDelta:
    ways = [line.failure.error_class if line.failure else "done" for line in lines]
    ways = [way for way in ways if way != "invalid_input"]  # the manifest's fault, which tells nothing of the others
    pausing = [way for way in ways if way != "done"]
    done = sum(line.status == "done" for line in lines)
    return CountDelta(
        done=done,
        failed=len(lines) - done,
        images=sum(len(line.final_images) for line in lines),
        units=rendered_units(rows, lines),
        pausing=len(pausing),
        pausing_class=pausing[-1] if pausing else "",
        run=len(list(takewhile(lambda way: way == ways[-1] != "done", reversed(ways)))),
    )


def _give_back(message: TaskMessage, token: str, place: Workplace, why: _Trouble) -> None:
    ledger, job, member = place.ledger, message.job, message.member
    try:
        if why.unforeseen:
            ledger.break_off(job, member, token, error=why.text)
        else:
            ledger.give_back(job, member, token, delay_seconds=why.delay, error=why.text, suspect=why.suspect)
    except LedgerUnavailable as away:
        log.warning("task %s of %s: its lease will expire: %s", member, job, away.message)
