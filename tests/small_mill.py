"""A whole promptmill in one process, moved by hand: a dispatcher's tick, a worker's task, one after the other.

The object store, Redis, the ledger and the Celery messages are real; only the clock of the dispatcher stands still
until a test moves it, and pictures come from `workers.engines.flat`.
"""

import base64
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.outcomes import read_outcomes
from orchestrator.planner.write import PlanWriter
from schemas import keys
from schemas.job import ControlEvent, ControlVerb, JobDocument, JobSpec
from schemas.planned import PlannedRow
from schemas.queues import RENDER_QUEUE
from schemas.task import TaskMessage
from services import jobs
from services.broker import Broker
from services.input_addresses import InputRules
from services.ledger import JobProgress, Ledger, WorkerReport
from services.settings import DispatchSettings, Settings, WorkerSettings
from services.store import ObjectStore
from workers.batches import BatchSizes
from workers.engines.base import Renderer
from workers.engines.flat import FlatRoom
from workers.input_source import InputSource
from workers.runner import RowsDone, Workplace, run_task

JOB = "job"
_workers = itertools.count()


def planned(index: int, prompt: str = "", **changes: Any) -> PlannedRow:
    """A row of 16 x 8 pixels and two steps."""
    values: dict[str, Any] = {
        "index": index,
        "id": f"row-{index}",
        "pipeline": "txt2img",
        "model": "tiny",
        "prompt": prompt or f"prompt {index}",
        "width": 16,
        "height": 8,
        "steps": 2,
        "guidance_scale": 7.5,
        "seed": 100 + index,
        "scheduler": None,
    }
    return PlannedRow.model_validate(values | changes)


def tasks_of(*sizes: int) -> list[list[PlannedRow]]:
    """Tasks of so many rows each."""
    indices = itertools.count()
    return [[planned(next(indices)) for _ in range(size)] for size in sizes]


def with_failures(*sizes: int) -> list[list[PlannedRow]]:
    """Tasks of so many rows each; the last row of each fails."""
    return [[*rows[:-1], rows[-1].model_copy(update={"prompt": "!raise"})] for rows in tasks_of(*sizes)]


def failing(error: Exception) -> Callable[..., Any]:
    """A function that raises."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def write_job(
    store: ObjectStore,
    tasks: list[list[PlannedRow]],
    *,
    job: str = JOB,
    keep_going: bool = False,
    priority: int = 100,
    **spec_changes: Any,
) -> JobDocument:
    """What `submit` leaves in the store."""
    with PlanWriter(store, job) as writer:
        for rows in tasks:
            writer.add(rows)
        totals = writer.finish()
    spec = JobSpec(
        manifest_name="m.jsonl",
        manifest_sha256="0" * 64,
        manifest_format="jsonl",
        keep_going=keep_going,
        task_units=1.0,
        task_rows=9,
        **spec_changes,
    )
    document = JobDocument(job=job, spec=spec, totals=totals, priority=priority, submitted_at="2026-01-01T00:00:00")
    store.put(keys.job_document(job), document.model_dump_json().encode())
    return document


class Inline(Executor):
    """Work that takes long, done at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":  # type: ignore[override]
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Later(Executor):
    """Work that takes long, done when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":  # type: ignore[override]
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def work(self) -> None:
        while self.waiting:
            future, work = self.waiting.pop(0)
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)


@dataclass
class Clock:
    """Stands in for `time` in the dispatcher."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class SmallMill:
    """Everything that a job passes through."""

    store: ObjectStore
    redis: "Redis"
    ledger: Ledger
    broker: Broker
    clock: Clock
    settings: Settings
    stopping: threading.Event = field(default_factory=threading.Event)

    def dispatcher(self, **changes: Any) -> Dispatcher:
        dispatch = DispatchSettings.model_validate({"publish_grace_seconds": 0.001} | changes)
        settings = self.settings.model_copy(update={"dispatch": dispatch})
        return Dispatcher(settings, self.store, self.ledger, self.broker)

    def tick(
        self, dispatcher: Dispatcher, times: int = 1, background: Executor | None = None, seconds: float = 10.0
    ) -> None:
        """Let a dispatcher look, each time when all its intervals have just passed."""
        for _ in range(times):
            self.clock.now += seconds
            self.redis.delete("test:leader")  # so that several can look in turn
            dispatcher.tick(background or Inline())

    def until_published(self, dispatcher: Dispatcher, looks: int = 5) -> None:
        """Let a dispatcher look until a message waits in the queue."""
        for _ in range(looks):
            if self.messages():
                return
            self.tick(dispatcher)
        raise AssertionError("nothing was published")

    def workers(self, number: int) -> None:
        """So many workers say that they are there."""
        for place in range(number):
            self.ledger.report(WorkerReport(worker=f"w-{place}", host="h", pid=place, device="none"))

    def appear(self, *places: Workplace) -> None:
        """These workers say that they are there, and have for a while."""
        for place in places:
            self.ledger.report(WorkerReport(worker=place.worker, host="h", pid=1, device="none"))
        self.redis.set("test:workers_since", 0)

    def place(self, renderer: Renderer | None = None, store: ObjectStore | None = None, **changes: Any) -> Workplace:
        """A worker that has nothing to do with any other."""
        values = {"lease_seconds": 60.0, "upload_threads": 2} | changes
        worker = WorkerSettings.model_validate(values)
        room = renderer or FlatRoom(self.settings.model_copy(update={"worker": worker}))
        return Workplace(
            store=store or self.store,
            ledger=self.ledger,
            renderer=room,
            sizes=BatchSizes(room),
            settings=worker,
            worker=f"w-{next(_workers)}",
            version="1",
            stopping=self.stopping,
            inputs=InputSource(store or self.store, InputRules(frozenset({"bucket"}))),
            max_pixels={},
        )

    def messages(self) -> list[TaskMessage]:
        """All that wait in the queue, the next one first."""
        return [_message(text) for text in reversed(self.redis.lrange(RENDER_QUEUE, 0, -1))]

    def members(self) -> list[str]:
        return [message.member for message in self.messages()]

    def receive(self) -> TaskMessage | None:
        """Take the next message out of the queue."""
        text = self.redis.rpop(RENDER_QUEUE)
        return None if text is None else _message(text)

    def work(self, place: Workplace | None = None) -> RowsDone | None:
        """Do the next task of the queue, as a worker of its own if none is given; None where there is none."""
        message = self.receive()
        if message is None:
            return None
        if place is not None:
            return run_task(message, place)
        place = self.place()
        self.appear(place)
        done = run_task(message, place)
        self.ledger.leave(place.worker)
        return done

    def run(self, dispatcher: Dispatcher, job: str = JOB, looks: int = 60, renderer: Renderer | None = None) -> None:
        """Dispatch and work until the job is finalized."""
        place = self.place(renderer)
        self.appear(place)
        for _ in range(looks):
            self.tick(dispatcher)
            while self.work(place) is not None:
                pass
            if jobs.read_summary(self.store, job) is not None and self.ledger.progress(job) is None:
                self.ledger.leave(place.worker)
                return
        raise AssertionError(f"{job} is not finalized after {looks} looks: {self.ledger.progress(job)}")

    def let_leases_end(self) -> None:
        """Wait for as long as a lease holds here."""
        time.sleep(self.settings.worker.lease_seconds * 1.2)

    def die(self, message: TaskMessage) -> None:
        """A worker takes a message and is killed: its lease expires."""
        lease = self.ledger.lease(message.job, message.member, worker="dead", seconds=-1)
        assert lease.answer == "granted"

    def steer(self, verb: ControlVerb, job: str = JOB, **changes: Any) -> None:
        """What a command of the user does."""
        known = jobs.read_control(self.store, jobs.read_document(self.store, job))
        jobs.write_control(self.store, job, ControlEvent(verb=verb, **changes), after=known.last)
        self.ledger.announce(job)

    def progress(self, job: str = JOB) -> JobProgress:
        found = self.ledger.progress(job)
        assert found is not None
        return found

    def assert_exact(self, job: str = JOB, *, done: int, failed: int = 0, cancelled: int = 0) -> None:
        """The invariant that every fault test ends with: every row once, its images there, nothing in flight."""
        document = jobs.read_document(self.store, job)
        summary = jobs.read_summary(self.store, job)
        assert summary is not None
        assert (summary.done, summary.failed, summary.cancelled) == (done, failed, cancelled)
        assert summary.planned == document.totals.rows == done + failed + cancelled
        counted = [line for part in read_outcomes(self.store, document) for line in part.found.values()]
        assert len({line.index for line in counted}) == len(counted) == done + failed
        for image in (image for line in counted if line.status == "done" for image in line.images):
            assert image.key is not None
            assert hashlib.sha256(self.store.get(image.key)).hexdigest() == image.sha256
        assert self.redis.keys(f"*:job:{job}:*") == []

    def rendered(self) -> int:
        """Images in the store, also those that no piece names."""
        return sum("/images/" in found.key for found in self.store.list("jobs/"))


def _message(text: str) -> TaskMessage:
    envelope = json.loads(text)
    _, fields, _ = json.loads(base64.b64decode(envelope["body"]))
    return TaskMessage.model_validate(fields)
