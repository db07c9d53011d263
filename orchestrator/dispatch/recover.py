"""What happens to tasks whose worker or message is gone: published again, split into rows, or failed as poison.

| what is seen                                          | what is done                                      |
|-------------------------------------------------------|---------------------------------------------------|
| a lease that expired                                  | a loss; published again                           |
| a task with `losses_before_split` losses              | its rows go one by one                            |
| a row alone with `losses_before_poison` losses        | fails as poison, with the last error              |
| published, not leased, not in the queue for the grace | published again; not a loss                       |
"""

import logging
from datetime import UTC, datetime

from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.rebuild import rows_of_task
from schemas import keys
from schemas.losses import Loss
from schemas.queues import queue_for
from schemas.result import ResultLine, RowFailure
from schemas.task import member_name, parse_member
from services import jobs
from services.broker import Broker
from services.failpoints import failpoint
from services.ledger import CountDelta, Flight, Ledger
from services.settings import DispatchSettings

log = logging.getLogger(__name__)
LEASE_OF_THE_DISPATCHER = 30.0
ORCHESTRATOR = "orchestrator"  # as a lease's worker


def recover(active: ActiveJob, flights: list[Flight], now: int, ledger: Ledger) -> list[Loss]:
    """Publish again what was lost. `now` is Redis' clock in ms. Returns the losses, for the record."""
    lost = []
    for flight in flights:
        if flight.token and flight.expiry < now and flight.worker == ORCHESTRATOR:
            ledger.give_back(active.job, flight.member, flight.token)  # killed over a verdict: no fault of the row
        elif flight.token and flight.expiry < now:
            error = f"worker {flight.worker} was lost"
            losses = ledger.lose(active.job, flight.member, flight.token, error=error)
            failpoint("dispatch.lost")
            if losses >= 0:
                log.warning("%s: task %s: %s (loss %d)", active.job, flight.member, error, losses)
                lost.append(_loss(flight, now, losses))
    return lost


def _loss(flight: Flight, now: int, losses: int) -> Loss:
    at = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")
    return Loss(member=flight.member, worker=flight.worker, token=flight.token, lost_at=at, losses=losses)


def requeue_vanished(
    active: ActiveJob, flights: list[Flight], now: int, ledger: Ledger, broker: Broker, grace_seconds: float
) -> int:
    """Publish again every message that is neither leased nor in the queue after the grace time."""
    overdue = [flight for flight in flights if not flight.token and now - flight.since > grace_seconds * 1000]
    if not overdue:
        return 0
    waiting: dict[str, set[tuple[str, str]]] = {}
    requeued = 0
    for flight in overdue:
        record = active.record(parse_member(flight.member)[0])
        queue = queue_for(record.pipeline, record.model)
        if queue not in waiting:
            waiting[queue] = broker.waiting(queue)
        if (active.job, flight.member) in waiting[queue]:
            continue
        if ledger.requeue(active.job, flight.member, flight.since):
            log.warning("%s: task %s: its message is gone; published again", active.job, flight.member)
            requeued += 1
    return requeued


def isolate(active: ActiveJob, ledger: Ledger, settings: DispatchSettings) -> bool:
    """Split tasks that were lost too often, and fail rows that were lost too often alone."""
    losses, errors = ledger.notes(active.job)
    changed = False
    for member, count in losses.items():
        task, row = parse_member(member)
        if row is None and count >= settings.losses_before_split:
            changed |= ledger.split(active.job, task, range(active.record(task).rows))
            failpoint("dispatch.split")
        elif row is not None and count >= settings.losses_before_poison:
            changed |= _fail_as_poison(active, ledger, member, count, errors.get(member, ""))
    return changed


def _fail_as_poison(active: ActiveJob, ledger: Ledger, member: str, losses: int, error: str) -> bool:
    lease = ledger.lease(active.job, member, worker=ORCHESTRATOR, seconds=LEASE_OF_THE_DISPATCHER)
    if lease.answer != "granted":
        return False
    failpoint("poison.leased")
    task, place = parse_member(member)
    assert place is not None
    row = rows_of_task(active, task)[place]
    record = active.record(task)
    line = ResultLine(
        index=row.index,
        id=row.id,
        status="failed",
        failure=RowFailure(
            error_class="poison", message=f"ended early {losses} times when alone: {error}", attempts=losses
        ),
        token=lease.token,
        worker=ORCHESTRATOR,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    jobs.write_piece(active.store, keys.piece(active.job, record.part, task, lease.token, 0), [line])
    failpoint("poison.written")
    log.error("%s: row %s fails as poison after %d losses alone", active.job, row.id, losses)
    return ledger.count(active.job, member_name(task, place), CountDelta(0, 1, 0, row.units(), 1, "poison"))
