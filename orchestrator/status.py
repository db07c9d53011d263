"""Where a job stands: the ledger's counts while it runs, the summary once it is finalized."""

from collections.abc import Iterator
from typing import Literal

from schemas.base import Frozen
from schemas.errors import JobNotFound, LedgerUnavailable, UnreadableObject
from schemas.job import JobDocument, Summary
from services import jobs
from services.ledger import JobProgress, Ledger
from services.store import ObjectStore

StatusState = Literal["waiting", "running", "paused", "cancelling", "cancelled", "finalizing", "done"]
ENDED: frozenset[str] = frozenset({"done", "cancelled"})


class JobStatus(Frozen):
    """One job at one moment. Counts are rows, but `in_flight` is tasks; the rate is images per second."""

    job: str
    state: StatusState
    reason: str = ""
    automatic: bool = False
    priority: int
    rows: int
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    in_flight: int = 0
    images: int = 0
    images_planned: int
    images_per_second: float = 0.0
    eta_seconds: float | None = None
    workers: int = 0
    losses: int = 0
    failures: dict[str, int] | None = None
    submitted_at: str
    finished_at: str | None = None

    @property
    def ended(self) -> bool:
        """Nothing more will happen by itself."""
        return self.state in ENDED


def job_status(store: ObjectStore, ledger: Ledger, job: str) -> JobStatus:
    """Where a job stands.

    Raises:
        JobNotFound: no such job.
        ServiceError: the store or Redis does not answer.
    """
    document = jobs.read_document(store, job)
    try:
        progress = ledger.progress(job)
    except LedgerUnavailable:
        summary = final_summary(store, document)
        if summary is None:
            raise
        return _final(document, summary)
    if progress is not None:
        return _live(document, progress, ledger)
    summary = final_summary(store, document)
    if summary is not None:
        return _final(document, summary)
    return _base(document, "waiting", reason="no orchestrator has taken it up yet")


def final_summary(store: ObjectStore, document: JobDocument) -> Summary | None:
    """The summary of a job that has ended with every retry, or None. Asks the store alone."""
    summary = jobs.read_summary(store, document.job)
    if summary is None:
        return None
    rounds = tuple(found.round_id for found in jobs.read_rounds(store, document) if found.round_id)
    return summary if summary.rounds == rounds else None


def all_status(store: ObjectStore, ledger: Ledger) -> Iterator[JobStatus]:
    """Every job of the store, by id."""
    for job in jobs.list_jobs(store):
        try:
            yield job_status(store, ledger, job)
        except (JobNotFound, UnreadableObject):
            continue  # a submission that was never finished is no job, and one of a later version not ours to tell


def _base(document: JobDocument, state: StatusState, **values: object) -> JobStatus:
    totals = document.totals
    common = {"job": document.job, "state": state, "priority": document.priority, "rows": totals.rows}
    common |= {"images_planned": totals.images, "submitted_at": document.submitted_at}
    return JobStatus.model_validate(common | values)


def _live(document: JobDocument, progress: JobProgress, ledger: Ledger) -> JobStatus:
    flights = [flight for flight in ledger.flights(document.job) if flight.token]
    losses = ledger.notes(document.job)[0]
    rate = ledger.rate(document.job)
    images = progress.images + sum(flight.images for flight in flights)
    totals = document.totals
    rows_left = max(totals.rows - progress.done - max(progress.failed, 0), 0)
    # Of rows under way only the images that are still to come; failed rows have none to come.
    left = max(rows_left * totals.images / totals.rows - sum(flight.images for flight in flights), 0)
    state: StatusState = {"running": "running", "paused": "paused"}.get(progress.state, "cancelling")  # type: ignore[assignment]
    if progress.counted >= progress.tasks:
        state = "finalizing"
    return _base(
        document,
        state,
        reason=progress.reason,
        automatic=progress.automatic,
        priority=progress.priority,
        done=progress.done + sum(flight.rows for flight in flights),
        failed=max(progress.failed, 0),
        in_flight=len(flights),
        images=images,
        images_per_second=round(rate, 3),
        eta_seconds=round(left / rate, 1) if rate and state == "running" else None,
        workers=len({flight.worker for flight in flights}),
        losses=sum(losses.values()),
    )


def _final(document: JobDocument, summary: Summary) -> JobStatus:
    return _base(
        document,
        summary.state,
        done=summary.done,
        failed=summary.failed,
        cancelled=summary.cancelled,
        images=summary.images,
        failures=summary.failures,
        finished_at=summary.finished_at,
    )
