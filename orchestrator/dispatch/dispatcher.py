"""The dispatcher's loop. It holds nothing that cannot be read again: it can be killed and started at any point.

Each tick, for every job that is not finished: make sure the ledger knows it, bring back what was lost, publish
up to the queue's depth by weighted fairness, pause what only fails, and finalize what is complete. The store is
searched for new jobs and control events every `scan_seconds`, and at once where somebody announced them.
"""

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from orchestrator.dispatch.active_job import ActiveJob, RoundsChanged
from orchestrator.dispatch.pausing import reason_to_pause
from orchestrator.dispatch.publishing import Publisher
from orchestrator.dispatch.rebuild import forget_finished, open_in_ledger, rows_of_task
from orchestrator.dispatch.recover import isolate, recover, requeue_vanished
from orchestrator.dispatch.search import JobSearch
from orchestrator.finalize import finalize
from orchestrator.status import final_summary
from schemas.errors import JobConflict, JobNotFound, ObjectMissing, PromptmillError, ServiceError, UnreadableObject
from schemas.job import ControlEvent
from schemas.task import parse_member
from services import jobs
from services.broker import Broker
from services.failpoints import failpoint
from services.ledger import Flight, JobProgress, Ledger, Look
from services.losses import write_losses
from services.settings import Settings
from services.store import ObjectStore

log = logging.getLogger(__name__)
RECOVER_SECONDS = 1.0
IDLE_TICK_SECONDS = 0.5
TROUBLE_SECONDS = 2.0
SAMPLE_SECONDS = 2.0


class Dispatcher:
    """One dispatcher. `run` returns when `stop` is set."""

    def __init__(self, settings: Settings, store: ObjectStore, ledger: Ledger, broker: Broker) -> None:
        self._settings = settings.dispatch
        self._lease = settings.worker.lease_seconds
        self._store = store
        self._ledger = ledger
        self._broker = broker
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._active: dict[str, ActiveJob] = {}
        self._search = JobSearch(store, ledger, self._settings.scan_seconds)
        self._background: dict[str, Future[None]] = {}  # the job is not tended meanwhile
        self._refreshes: dict[str, Future[None]] = {}  # it is
        self._publisher = Publisher(ledger, broker)
        self._workers = 1
        self._due: dict[str, float] = {}
        self._led = -math.inf

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop` is set. Services that are away are waited for."""
        with ThreadPoolExecutor(8, thread_name_prefix="background") as background:
            while not stop.is_set():
                try:
                    busy = self.tick(background)
                    stop.wait(self._settings.tick_seconds if busy else IDLE_TICK_SECONDS)
                except ServiceError as error:
                    log.warning("%s; trying again", error.message)
                    stop.wait(TROUBLE_SECONDS)
                except Exception:  # no surprise ends the only process that looks after all jobs
                    log.exception("the dispatcher's own fault; trying again")
                    stop.wait(TROUBLE_SECONDS)
            for future in (*self._background.values(), *self._refreshes.values()):
                future.cancel()
        try:
            self._ledger.resign(self._name)
        except ServiceError:
            log.debug("the leader's lock expires by itself")

    def tick(self, background: Executor) -> bool:
        """One look at everything; says whether there is an unfinished job. What takes long is left to `background`."""
        if not self._leads():
            return False
        self._collect_background()
        busy = self._background.keys() | self._refreshes.keys()
        for job in self._search.due(time.monotonic(), busy, background):
            self._look_into(job, background)
        recovering = self._is_due("recover", RECOVER_SECONDS)
        if recovering:
            self._workers = len(self._ledger.workers())
        flights = self._tend_all(recovering, background)
        found = self._publisher.publish(self._active, flights, workers=self._workers, now=time.monotonic())
        for job, error in found.items():
            with self._contained(job):
                if isinstance(error, ObjectMissing | UnreadableObject):
                    self._pause(self._active[job], f"the plan cannot be read: {error.message}")
                else:
                    raise error
        return bool(self._active)

    def _leads(self) -> bool:
        if not self._ledger.lead(self._name, self._settings.leader_seconds):
            return False
        now = time.monotonic()
        if now - self._led > self._settings.leader_seconds:
            # Another may have led since, and what is known here may be old.
            self._active.clear()
            self._search.start_over()
            self._due.clear()
        self._led = now
        return True

    @contextmanager
    def _contained(self, job: str) -> Iterator[None]:
        """What is wrong with one job stops no other: it is dropped here, and read again with the next scan."""
        try:
            yield
        except PromptmillError as error:
            if isinstance(error, ServiceError) and not isinstance(error, ObjectMissing | UnreadableObject):
                raise  # everybody's trouble
            log.error("%s: %s; trying again with the next scan", job, error.message)
            self._active.pop(job, None)
        except Exception:
            log.exception("%s: the dispatcher's own fault; trying again with the next scan", job)
            self._active.pop(job, None)

    def _is_due(self, name: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(name, 0.0):
            return False
        self._due[name] = now + seconds
        return True

    # Jobs come and go

    def _look_into(self, job: str, background: Executor) -> None:
        if job in self._background:
            return
        active = self._active.get(job)
        if active is None:
            self._later(job, background, partial(self._activate, job))
        elif job not in self._refreshes:
            self._refreshes[job] = background.submit(self._refresh, active)

    def _activate(self, job: str) -> None:
        try:
            document = jobs.read_document(self._store, job)
        except JobNotFound:
            return  # still being submitted: looked at again with the next scan
        if final_summary(self._store, document) is not None:
            forget_finished(self._store, self._ledger, document)
            self._search.end(job)
            return
        active = ActiveJob.load(self._store, job)
        self._open(active)
        self._active[job] = active
        log.info("%s: %d rows in %d tasks", job, active.document.totals.rows, active.tasks)

    def _open(self, active: ActiveJob, *, forgotten: bool = False) -> None:
        # Living workers renew within a sixth of a lease; one that is silent for all of it has lost it.
        hold = self._lease / 5
        if open_in_ledger(active, self._ledger, hold_seconds=hold, settle_seconds=self._lease, forgotten=forgotten):
            log.info("%s: ledger made from the store", active.job)
        failpoint("dispatch.opened")
        self._refresh(active)

    def _refresh(self, active: ActiveJob) -> None:
        try:
            active.refresh()
        except RoundsChanged:
            self._ledger.drop(active.job, tasks=active.tasks)  # made again from the store, with the rounds that count
            raise
        self._ledger.grow(active.job, tasks=active.tasks, retried=active.retried_rows)
        self._ledger.steer(active.job, active.control)

    # One job, one tick

    def _tend_all(self, recovering: bool, background: Executor) -> dict[str, list[Flight]]:
        """Look at every job; what is in flight of those that may be published from."""
        jobs = [job for job in list(self._active) if job not in self._background]  # background work adds to it
        looks = self._ledger.look(jobs)
        if self._is_due("sample", SAMPLE_SECONDS):
            images = {job: look.progress.images + sum(f.images for f in look.flights) for job, look in looks.items()}
            self._ledger.sample(images)
        now = self._ledger.now() if recovering else 0
        flights: dict[str, list[Flight]] = {}
        for job in jobs:
            with self._contained(job):
                found = self._tend(self._active[job], looks.get(job), recovering, now, background)
                flights |= {} if found is None else {job: found}
        return flights

    def _tend(
        self, active: ActiveJob, look: Look | None, recovering: bool, now: int, background: Executor
    ) -> list[Flight] | None:
        """Bring back what was lost; finalize or pause. Returns what is in flight, or None: nothing to publish."""
        job = active.job
        if look is None:
            self._later(job, background, partial(self._open, active, forgotten=True))
            return None
        progress, flights = look.progress, look.flights
        if progress.tasks > active.tasks:  # another dispatcher found a retry first
            self._refresh(active)
        if recovering:
            self._recover(active, look, now, background)
            self._check_suspect(active, progress)
        # A worker that the ledger forgot may still hold what it commits.
        open_hands = any(flight.token for flight in flights) or not recovering or now < progress.settled
        refreshed = job not in self._refreshes or self._refreshes[job].done()
        complete = progress.counted >= active.tasks
        if complete or (progress.state == "cancelled" and not open_hands):
            if refreshed:  # else it may be about to find a retry
                self._later(job, background, partial(self._finalize, active))
            return None
        self._pause_if_failing(active, progress)
        return flights if progress.state == "running" else None

    def _recover(self, active: ActiveJob, look: Look, now: int, background: Executor) -> None:
        lost = recover(active, look.flights, now, self._ledger)
        if lost:
            background.submit(write_losses, self._store, active.job, lost)
        if look.progress.state == "running":
            grace = self._settings.publish_grace_seconds
            requeue_vanished(active, look.flights, now, self._ledger, self._broker, grace)
        if lost or look.has_losses:
            isolate(active, self._ledger, self._settings)

    def _check_suspect(self, active: ActiveJob, progress: JobProgress) -> None:
        """A worker could not read a member's rows: by the fault of its message, or of the plan. Here by the plan."""
        if progress.suspect and progress.state == "running":
            try:
                rows_of_task(active, parse_member(progress.suspect)[0])
                self._ledger.clear_suspicion(active.job)
            except (ObjectMissing, UnreadableObject) as error:
                self._pause(active, f"the plan cannot be read: {error.message}")

    def _pause_if_failing(self, active: ActiveJob, progress: JobProgress) -> None:
        limit = 0 if active.document.spec.keep_going else self._settings.failure_streak
        max_units = active.control.max_units or active.document.spec.max_units
        reason = reason_to_pause(progress, limit, max_units)
        if reason is not None:
            self._pause(active, reason)

    def _pause(self, active: ActiveJob, reason: str) -> None:
        log.error("%s: paused: %s", active.job, reason)
        event = ControlEvent(verb="pause", reason=reason, by="orchestrator", automatic=True)
        jobs.write_control(self._store, active.job, event, after=active.control.last)
        failpoint("dispatch.paused")
        self._refresh(active)

    def _finalize(self, active: ActiveJob) -> None:
        try:
            # Of the rounds that are complete: a retry that came since is not, and belongs to the next finalize.
            summary = finalize(self._store, active.job, rounds=active.rounds, before_writing=self._refuse_if_led)
        except JobConflict as error:
            # The ledger counted what the store does not have: the store is right, so the ledger is made anew.
            log.error("%s: %s; the ledger is made again from the store", active.job, error.message)
            self._ledger.drop(active.job, tasks=active.tasks)
            self._active.pop(active.job, None)  # taken up again by the next scan, and not at every look
            return
        failpoint("finalize.written")
        self._ledger.drop(active.job, tasks=active.tasks)
        failpoint("finalize.dropped")
        self._active.pop(active.job, None)
        self._search.end(active.job)
        log.info("%s: %s: %d done, %d failed", active.job, summary.state, summary.done, summary.failed)

    def _refuse_if_led(self) -> None:
        """One that stood still in a finalize must not write over what its successor's said since.

        A check and no lock: in the moment between it and the write the older summary can still win. It names older
        rounds then, so that nobody takes the job for ended, and the next finalize makes all of it again.
        """
        leader = self._ledger.leader()
        if leader not in (self._name, None):
            raise ServiceError(f"another orchestrator leads ({leader})")

    # Work that takes long

    def _later(self, job: str, background: Executor, work: Callable[[], None]) -> None:
        self._background[job] = background.submit(work)

    def _collect_background(self) -> None:
        for waiting in (self._background, self._refreshes):
            for job, future in list(waiting.items()):
                if future.done():
                    del waiting[job]
                    try:
                        with self._contained(job):
                            future.result()
                    except ServiceError as error:
                        log.warning("%s: %s; trying again", job, error.message)
