"""The dispatcher's loop. It holds nothing that cannot be read again: it can be killed and started at any point.

Each tick, for every job that is not finished: make sure the ledger knows it, bring back what was lost, publish
up to the queue's depth by weighted fairness, pause what only fails, and finalize what is complete. The store is
searched for new jobs and control events every `scan_seconds`, and at once where somebody announced them.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.pausing import reason_to_pause
from orchestrator.dispatch.rebuild import open_in_ledger
from orchestrator.dispatch.recover import isolate, recover, requeue_vanished
from orchestrator.dispatch.share import QueueDepth, Shares
from orchestrator.finalize import finalize
from schemas.errors import JobConflict, JobNotFound, ServiceError
from schemas.job import ControlEvent
from services import jobs
from services.broker import Broker
from services.ledger import Flight, JobProgress, Ledger
from services.settings import Settings
from services.store import ObjectStore

log = logging.getLogger(__name__)
LEADER_SECONDS = 10.0
RECOVER_SECONDS = 1.0
IDLE_TICK_SECONDS = 0.5
TROUBLE_SECONDS = 2.0
FORGET_FINISHED_SECONDS = 600.0
SAMPLE_SECONDS = 2.0


class Dispatcher:
    """One dispatcher. `run` returns when `stop` is set."""

    def __init__(self, settings: Settings, store: ObjectStore, ledger: Ledger, broker: Broker) -> None:
        self._settings = settings.dispatch
        self._hold = settings.worker.lease_seconds / 5  # living workers renew within a sixth of it
        self._store = store
        self._ledger = ledger
        self._broker = broker
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._active: dict[str, ActiveJob] = {}
        self._finished: set[str] = set()
        self._background: dict[str, Future[None]] = {}
        self._shares = Shares()
        self._depth = QueueDepth()
        self._workers = 1
        self._due: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop` is set. Services that are away are waited for."""
        with ThreadPoolExecutor(2, thread_name_prefix="background") as background:
            while not stop.is_set():
                try:
                    busy = self._tick(background)
                    stop.wait(self._settings.tick_seconds if busy else IDLE_TICK_SECONDS)
                except ServiceError as error:
                    log.warning("%s; trying again", error.message)
                    stop.wait(TROUBLE_SECONDS)
            for future in self._background.values():
                future.cancel()
        try:
            self._ledger.resign(self._name)
        except ServiceError:
            log.debug("the leader's lock expires by itself")

    def _tick(self, background: ThreadPoolExecutor) -> bool:
        if not self._ledger.lead(self._name, LEADER_SECONDS):
            return False
        self._collect_background()
        announced = self._ledger.announced()
        if announced or self._is_due("scan", self._settings.scan_seconds):
            self._scan(announced, background)
        recovering = self._is_due("recover", RECOVER_SECONDS)
        if recovering:
            self._workers = len(self._ledger.workers())
        flights = {}
        for job, active in list(self._active.items()):
            if job in self._background:
                continue
            progress = self._ledger.progress(job)
            if progress is None:
                self._later(job, background, partial(self._open, active))
                continue
            flights[job] = self._tend(active, progress, recovering, background)
        self._publish({job: found for job, found in flights.items() if found is not None})
        return bool(self._active)

    def _is_due(self, name: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(name, 0.0):
            return False
        self._due[name] = now + seconds
        return True

    # Jobs come and go

    def _scan(self, announced: set[str], background: ThreadPoolExecutor) -> None:
        known = set(jobs.list_jobs(self._store)) if self._is_due("list", self._settings.scan_seconds) else announced
        if self._is_due("finished", FORGET_FINISHED_SECONDS):
            self._finished.clear()  # a retry whose announcement was lost is found by this
        for job in sorted(known | announced):
            if job in announced:
                self._finished.discard(job)
            if job in self._finished or job in self._background:
                continue
            active = self._active.get(job)
            if active is None:
                self._later(job, background, partial(self._activate, job))
            else:
                self._refresh(active)

    def _activate(self, job: str) -> None:
        try:
            active = ActiveJob.load(self._store, job)
        except JobNotFound:
            return  # still being submitted: looked at again with the next scan
        summary = jobs.read_summary(self._store, job)
        rounds = tuple(plan.round_id for plan in active.rounds if plan.round_id)
        if summary is not None and summary.rounds == rounds:
            self._finished.add(job)
            return
        self._open(active)
        self._active[job] = active
        log.info("%s: %d rows in %d tasks", job, active.document.totals.rows, active.tasks)

    def _open(self, active: ActiveJob) -> None:
        if open_in_ledger(active, self._ledger, hold_seconds=self._hold):
            log.info("%s: ledger made from the store", active.job)
        self._refresh(active)

    def _refresh(self, active: ActiveJob) -> None:
        active.refresh_rounds()
        self._ledger.grow(active.job, tasks=active.tasks, retried=active.retried_rows)
        self._ledger.steer(active.job, active.refresh_control())

    # One job, one tick

    def _tend(
        self, active: ActiveJob, progress: JobProgress, recovering: bool, background: ThreadPoolExecutor
    ) -> list[Flight] | None:
        """Bring back what was lost; finalize or pause. Returns what is in flight, or None: nothing to publish."""
        job = active.job
        flights = self._ledger.flights(job)
        if recovering and flights:
            now = self._ledger.now()
            recover(active, flights, now, self._ledger, self._broker)
            if progress.state == "running":
                grace = self._settings.publish_grace_seconds
                requeue_vanished(active, flights, now, self._ledger, self._broker, grace)
        if recovering:
            isolate(active, self._ledger, self._settings)
        if self._is_due(f"sample {job}", SAMPLE_SECONDS):
            self._ledger.sample(job, progress.images + sum(flight.images for flight in flights))
        leased = any(flight.token for flight in flights)
        complete = progress.counted >= active.tasks
        if complete or (progress.state == "cancelled" and not leased):
            self._later(job, background, partial(self._finalize, active))
            return None
        self._pause_if_failing(active, progress)
        return flights if progress.state == "running" else None

    def _pause_if_failing(self, active: ActiveJob, progress: JobProgress) -> None:
        limit = 0 if active.document.spec.keep_going else self._settings.failure_streak
        reason = reason_to_pause(progress, limit)
        if reason is None:
            return
        log.error("%s: paused: %s", active.job, reason)
        jobs.write_control(
            self._store, active.job, ControlEvent(verb="pause", reason=reason, by="orchestrator", automatic=True)
        )
        self._refresh(active)

    def _finalize(self, active: ActiveJob) -> None:
        try:
            summary = finalize(self._store, active.job)
        except JobConflict as error:
            # The ledger counted what the store does not have: the store is right, so the ledger is made anew.
            log.error("%s: %s; the ledger is made again from the store", active.job, error.message)
            self._ledger.drop(active.job, tasks=active.tasks)
            return
        self._ledger.drop(active.job, tasks=active.tasks)
        self._active.pop(active.job, None)
        self._due.pop(f"sample {active.job}", None)
        if summary.rounds == tuple(plan.round_id for plan in active.rounds if plan.round_id):
            self._finished.add(active.job)
        log.info("%s: %s: %d done, %d failed", active.job, summary.state, summary.done, summary.failed)

    # Publishing

    def _publish(self, flights: dict[str, list[Flight]]) -> None:
        waiting = sum(not flight.token for found in flights.values() for flight in found)
        self._depth.observe(time.monotonic(), waiting)
        free = self._depth.target(self._workers) - waiting
        hungry = set(flights)
        self._shares.keep(set(self._active))
        while free > 0 and hungry:
            job = self._shares.order(hungry)[0]
            others = len(hungry) > 1
            taken = self._ledger.take(job, 1 if others else free)
            if not taken:
                hungry.discard(job)
                continue
            for member, losses in taken:
                self._send(self._active[job], member, losses)
            free -= len(taken)
            waiting += len(taken)
        self._shares.catch_up(hungry)
        self._depth.left(waiting)

    def _send(self, active: ActiveJob, member: str, losses: int) -> None:
        message = active.message(member, losses)
        record = active.record(message.task)
        self._broker.publish(message, record.pipeline, record.model)
        self._shares.serve(active.job, active.cost(member), active.control.priority)

    # Work that takes long

    def _later(self, job: str, background: ThreadPoolExecutor, work: Callable[[], None]) -> None:
        self._background[job] = background.submit(work)

    def _collect_background(self) -> None:
        for job, future in list(self._background.items()):
            if future.done():
                del self._background[job]
                try:
                    future.result()
                except ServiceError as error:
                    log.warning("%s: %s; trying again", job, error.message)
                except Exception:
                    log.exception("%s: the dispatcher's own fault; trying again with the next scan", job)
                    self._active.pop(job, None)
