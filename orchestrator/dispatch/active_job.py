"""A job as the dispatcher holds it: what the store says about it, and where each task stands in the plan."""

from collections import OrderedDict
from dataclasses import dataclass, field

import pyarrow as pa

from schemas import keys
from schemas.job import ControlEvent, ControlState, JobDocument
from schemas.task import TaskMessage, TaskRecord, parse_member
from services import jobs
from services.jobs import Round
from services.store import ObjectStore

CACHED_LAYOUTS = 256


@dataclass
class ActiveJob:
    """One job that is not finished. `rounds` and `tables` grow together when a retry is found."""

    store: ObjectStore
    document: JobDocument
    control: ControlState
    rounds: list[Round]
    tables: list[pa.Table]
    _events: dict[str, ControlEvent] = field(default_factory=dict)
    _layouts: OrderedDict[int, list[tuple[int, int]]] = field(default_factory=OrderedDict)

    @classmethod
    def load(cls, store: ObjectStore, job: str) -> "ActiveJob":
        """Read a job from the store.

        Raises:
            JobNotFound: its submission was never finished.
        """
        document = jobs.read_document(store, job)
        active = cls(store, document, jobs.read_control(store, document), [], [])
        active.refresh_rounds()
        return active

    @property
    def job(self) -> str:
        return self.document.job

    @property
    def tasks(self) -> int:
        """Tasks of all rounds."""
        return self.rounds[-1].first_task + self.rounds[-1].tasks

    @property
    def retried_rows(self) -> int:
        """Rows that stand in a retry as well."""
        return sum(found.rows for found in self.rounds[1:])

    def refresh_control(self) -> ControlState:
        """Fold the control events again."""
        self.control = jobs.read_control(self.store, self.document, self._events)
        return self.control

    def refresh_rounds(self) -> bool:
        """Look for retries; True where there is a new one."""
        found = jobs.read_rounds(self.store, self.document)
        new = found[len(self.rounds) :]
        for plan in new:
            self.tables.append(jobs.read_tasks(self.store, self.job, plan.round_id))
            self.rounds.append(plan)
        return bool(new)

    def record(self, task: int) -> TaskRecord:
        """The task table's line for a task of any round."""
        for plan, table in zip(reversed(self.rounds), reversed(self.tables), strict=True):
            if task >= plan.first_task:
                return jobs.task_record(table, task - plan.first_task, plan.round_id)
        raise IndexError(task)

    def message(self, member: str, attempt: int) -> TaskMessage:
        """What to publish for a member: the whole task, or the bytes of its one row."""
        task, row = parse_member(member)
        record = self.record(task)
        offset, length = record.offset, record.length
        if row is not None:
            start, length = self._layout(record)[row]
            offset += start
        return TaskMessage(
            job=self.job,
            task=task,
            row=row,
            attempt=attempt,
            round_id=record.round_id,
            part=record.part,
            offset=offset,
            length=length,
        )

    def cost(self, member: str) -> float:
        """Units of a member."""
        task, row = parse_member(member)
        record = self.record(task)
        return record.units if row is None else record.units / record.rows

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
        return found
