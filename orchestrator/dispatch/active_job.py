"""A job as the dispatcher holds it: what the store says about it, and where each task stands in the plan."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from schemas import keys
from schemas.errors import PromptmillError
from schemas.job import ControlEvent, ControlState, JobDocument
from schemas.queues import queue_for
from schemas.task import TaskMessage, TaskRecord, parse_member
from services import jobs
from services.jobs import Round
from services.store import ObjectStore

CACHED_LAYOUTS = 256


class Order(NamedTuple):
    """One message to publish. `cost` in units."""

    message: TaskMessage
    queue: str
    cost: float


class RoundsChanged(PromptmillError):
    """The rounds that were known are no longer those that count: what the ledger holds is of others."""


@dataclass
class ActiveJob:
    """One job that is not finished. It may be refreshed by one thread while another reads it."""

    store: ObjectStore
    document: JobDocument
    control: ControlState
    _plans: list[tuple[Round, pa.Table]] = field(default_factory=list)
    _refreshing: threading.Lock = field(default_factory=threading.Lock)
    _events: dict[str, ControlEvent] = field(default_factory=dict)
    _layouts: OrderedDict[int, list[tuple[int, int]]] = field(default_factory=OrderedDict)

    @classmethod
    def load(cls, store: ObjectStore, job: str) -> "ActiveJob":
        """Read a job from the store.

        Raises:
            JobNotFound: its submission was never finished.
        """
        document = jobs.read_document(store, job)
        active = cls(store, document, jobs.read_control(store, document))
        active._refresh_rounds()
        return active

    @property
    def job(self) -> str:
        return self.document.job

    @property
    def rounds(self) -> list[Round]:
        """The submission, then each retry."""
        return [plan for plan, _ in self._plans]

    @property
    def tasks(self) -> int:
        """Tasks of all rounds."""
        last = self._plans[-1][0]
        return last.first_task + last.tasks

    @property
    def retried_rows(self) -> int:
        """Rows that stand in a retry as well."""
        return sum(found.rows for found in self.rounds[1:])

    def refresh(self) -> None:
        """Look for retries and control events that came since."""
        with self._refreshing:
            self._refresh_rounds()
            self.control = jobs.read_control(self.store, self.document, self._events)

    def _refresh_rounds(self) -> None:
        found = jobs.read_rounds(self.store, self.document)
        if found[: len(self._plans)] != self.rounds:
            raise RoundsChanged(f"job {self.job}: a retry that was written earlier makes a later one void")
        for plan in found[len(self._plans) :]:
            self._plans.append((plan, jobs.read_tasks(self.store, self.job, plan.round_id)))

    def record(self, task: int) -> TaskRecord:
        """The task table's line for a task of any round."""
        for plan, table in reversed(self._plans):
            if task >= plan.first_task:
                return jobs.task_record(table, task - plan.first_task, plan.round_id)
        raise IndexError(task)

    @property
    def task_cost(self) -> float:
        """Units of a task on average."""
        return self.document.totals.units / max(self.document.totals.tasks, 1)

    def message(self, member: str, attempt: int) -> TaskMessage:
        """What to publish for a member: the whole task, or the bytes of its one row."""
        return self.order(member, attempt).message

    def order(self, member: str, attempt: int) -> Order:
        """What to publish for a member, where to, and what it costs."""
        task, row = parse_member(member)
        record = self.record(task)
        offset, length, cost = record.offset, record.length, record.units
        if row is not None:
            start, length = self._layout(record)[row]
            offset, cost = offset + start, cost / record.rows
        message = TaskMessage(
            job=self.job,
            task=task,
            row=row,
            attempt=attempt,
            round_id=record.round_id,
            part=record.part,
            offset=offset,
            length=length,
        )
        return Order(message, queue_for(record.pipeline, record.model), cost)

    def _layout(self, record: TaskRecord) -> list[tuple[int, int]]:
        """Offset (from the task's first byte) and length of each row of a task, in bytes."""
        found = self._layouts.get(record.task)
        if found is None:
            part = keys.plan_part(self.job, record.part, record.round_id)
            found, start = [], 0
            for line in self.store.get_range(part, record.offset, record.length).splitlines(keepends=True):
                found.append((start, len(line)))
                start += len(line)
            self._layouts[record.task] = found
            while len(self._layouts) > CACHED_LAYOUTS:
                self._layouts.popitem(last=False)
        self._layouts.move_to_end(record.task)  # what was asked for longest ago goes first
        return found
