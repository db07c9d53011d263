"""A retry: the failed rows of a job, as a round of their own with new task numbers. Nothing existing is touched."""

import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from ulid import ULID

from orchestrator.outcomes import read_outcomes
from orchestrator.planner.group import cut_tasks
from orchestrator.planner.write import PlanWriter
from orchestrator.status import final_summary
from schemas import keys
from schemas.errors import JobConflict, LedgerUnavailable
from schemas.job import JobDocument, RoundDocument
from schemas.planned import PlannedRow
from services import jobs
from services.failpoints import failpoint
from services.ledger import Ledger
from services.store import ObjectStore

LOCK_SECONDS = 15.0  # a retry that was killed keeps others off for so long


def retry(store: ObjectStore, ledger: Ledger, job: str, *, error_classes: Collection[str] = ()) -> RoundDocument | None:
    """Plan the failed rows again, into the same job. Returns the round, or None where no such row failed.

    Args:
        error_classes: only rows that failed so; empty: all failed rows.

    Raises:
        JobNotFound: no such job.
        JobConflict: the job was cancelled, or an earlier retry has not ended yet, or is being planned.
        ServiceError: the store or Redis does not answer; nothing counts then, run it again.
    """
    document = jobs.read_document(store, job)
    if jobs.read_control(store, document).state == "cancelled":
        raise JobConflict(f"job {job} was cancelled", hint="submit the manifest again under another id")
    rounds = jobs.read_rounds(store, document)
    if not _has_ended(store, ledger, document, rounds):
        with suppress(LedgerUnavailable):  # an earlier retry may have been killed before it said so
            ledger.announce(job)
        raise JobConflict(
            f"job {job} is still running; its failed rows can be retried when it has ended",
            hint=f"promptmill status {job} --watch",
        )
    with _alone(ledger, job) as still_alone:
        found = _write_round(store, document, rounds, tuple(error_classes), still_alone)
    if found is not None:
        with suppress(LedgerUnavailable):  # only a hint: the orchestrator looks into the store by itself
            ledger.announce(job)
    return found


@contextmanager
def _alone(ledger: Ledger, job: str) -> Iterator[Callable[[], bool]]:
    """One retry of a job at a time: two would be numbered alike. Gives a function that says whether it is so still."""
    name, owner, left = f"retry:{job}", secrets.token_hex(8), threading.Event()

    def hold() -> bool:
        return ledger.hold(name, owner, LOCK_SECONDS)

    def keep() -> None:
        while not left.wait(LOCK_SECONDS / 4):
            with suppress(LedgerUnavailable):
                hold()

    if not hold():
        raise JobConflict(
            f"another retry of job {job} is being planned, or was cut short", hint="give the command again in a moment"
        )
    thread = threading.Thread(target=keep, name="retry-lock", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        left.set()
        thread.join()
        with suppress(LedgerUnavailable):  # it ends by itself
            ledger.let_go(name, owner)


def _write_round(
    store: ObjectStore,
    document: JobDocument,
    rounds: list[jobs.Round],
    classes: tuple[str, ...],
    still_alone: Callable[[], bool],
) -> RoundDocument | None:
    """Write the plan, its tasks and, last, `round.json`."""
    last = rounds[-1]
    first_task, first_part = last.first_task + last.tasks, last.first_part + last.parts
    round_id, spec = str(ULID()), document.spec
    with PlanWriter(store, document.job, round_id=round_id, first_task=first_task, first_part=first_part) as writer:
        rows = _failed_rows(store, document, set(classes))
        for task in cut_tasks(rows, task_units=spec.task_units, task_rows=spec.task_rows):
            writer.add(task)
        if not writer.tasks:
            return None
        totals = writer.finish()
    failpoint("retry.planned")
    # Redis may have forgotten the lock meanwhile: a round that came since has these numbers.
    if not still_alone() or jobs.read_rounds(store, document) != rounds:
        raise JobConflict(f"another retry of job {document.job} came first", hint=f"promptmill status {document.job}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = RoundDocument(
        round_id=round_id,
        first_task=first_task,
        first_part=first_part,
        totals=totals,
        error_classes=classes,
        created_at=now,
    )
    store.put(keys.round_document(document.job, round_id), found.model_dump_json().encode(), jobs.JSON)
    failpoint("retry.written")
    return found


def _has_ended(store: ObjectStore, ledger: Ledger, document: JobDocument, rounds: list[jobs.Round]) -> bool:
    """Whether every task of every round is counted. A row that is still to come in one must not go into another."""
    progress = ledger.progress(document.job)
    if progress is not None:
        return progress.counted >= rounds[-1].first_task + rounds[-1].tasks
    return final_summary(store, document) is not None


def _failed_rows(store: ObjectStore, document: JobDocument, classes: set[str]) -> Iterator[PlannedRow]:
    for part in read_outcomes(store, document):
        for row in part.rows:
            outcome = part.found.get(row.index)
            if outcome is None or outcome.failure is None or outcome.status != "failed":
                continue
            if not classes or outcome.failure.error_class in classes:
                yield row
