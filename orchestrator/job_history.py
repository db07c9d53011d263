"""What happened to a job: who did what to it, what was lost, who rendered how much."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from orchestrator.events import Event, History, WorkerShare, in_order, losses, ulid_time
from orchestrator.outcomes import read_outcomes
from orchestrator.status import final_summary
from schemas import keys
from schemas.errors import LedgerUnavailable
from schemas.job import JobDocument
from services import jobs
from services.ledger import Ledger
from services.store import ObjectStore


@dataclass
class _Share:
    done: int = 0
    failed: int = 0
    images: int = 0
    seconds: float = 0.0
    times: list[str] = field(default_factory=list)


def job_history(store: ObjectStore, ledger: Ledger, job: str) -> History:
    """What happened to a job. Reads the outcomes of all rows.

    Raises:
        JobNotFound: no such job.
        ServiceError: the object store does not answer; without Redis only `now` is missing.
    """
    document = jobs.read_document(store, job)
    totals, spec = document.totals, document.spec
    told = f"submitted: {spec.manifest_name}, {totals.rows:,} rows, {totals.images:,} images, {totals.tasks:,} tasks"
    events = [Event(at=document.submitted_at, kind="submitted", text=told)]
    events += _steering(store, document)
    events += _retries(store, document)
    events += losses(store, job, None)
    summary = jobs.read_summary(store, job)
    if summary is not None:
        told = f"finalized: {summary.state}, {summary.done:,} done, {summary.failed:,} failed"
        told += f", {summary.cancelled:,} cancelled" if summary.cancelled else ""
        events.append(Event(at=summary.finished_at, kind="finalized", text=told))
    workers, with_losses = _shares(store, document)
    return History(
        job=job,
        events=in_order(events),
        workers=workers,
        rows_with_losses=with_losses,
        now=_job_now(store, ledger, document),
    )


def _steering(store: ObjectStore, document: JobDocument) -> Iterator[Event]:
    found: dict[str, Any] = {}
    jobs.read_control(store, document, found)
    for key, event in found.items():
        _, ulid, _ = keys.parse_control(key)
        what = f"priority {event.priority}" if event.verb == "priority" else event.verb
        by = f" by {event.by}" if event.by else ""
        text = f"{what}{by}{f': {event.reason}' if event.reason else ''}"
        yield Event(at=ulid_time(ulid), kind="control", text=text)


def _retries(store: ObjectStore, document: JobDocument) -> Iterator[Event]:
    for found in jobs.read_rounds(store, document)[1:]:
        text = f"retry: {found.rows:,} rows again in {found.tasks:,} tasks"
        yield Event(at=ulid_time(found.round_id or ""), kind="retry", text=text)


def _shares(store: ObjectStore, document: JobDocument) -> tuple[tuple[WorkerShare, ...], int]:
    shares: dict[str, _Share] = {}
    with_losses = 0
    with closing(read_outcomes(store, document)) as parts:
        for line in (line for part in parts for line in part.found.values()):
            share = shares.setdefault(line.worker or "?", _Share())
            share.done += line.status == "done"
            share.failed += line.status == "failed"
            share.images += len(line.final_images)
            share.seconds += line.seconds
            share.times = [min([*share.times, line.finished_at]), max([*share.times, line.finished_at])]
            with_losses += line.attempts > 1
    made = [
        WorkerShare(
            worker=worker,
            done=share.done,
            failed=share.failed,
            images=share.images,
            seconds=round(share.seconds, 3),
            first=share.times[0],
            last=share.times[1],
        )
        for worker, share in sorted(shares.items())
    ]
    return tuple(made), with_losses


def _job_now(store: ObjectStore, ledger: Ledger, document: JobDocument) -> tuple[str, ...]:
    try:
        progress = ledger.progress(document.job)
        lost, errors = ledger.notes(document.job) if progress else ({}, {})
    except LedgerUnavailable as error:
        return (f"where its tasks stand cannot be told: {error.message}",)
    if progress is None:
        if final_summary(store, document) is not None:
            return ()
        return ("not in the ledger: no orchestrator has taken it up, or Redis was flushed a moment ago",)
    told = [f"{progress.counted:,} of {progress.tasks:,} tasks are counted, {progress.in_flight:,} are in flight"]
    for member, trouble in sorted(errors.items()):
        told.append(f"task {member}: {trouble}{f' (losses: {lost[member]})' if member in lost else ''}")
    return tuple(told)
