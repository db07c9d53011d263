"""Reading and writing a job in the object store: its document, control events, rounds, plan, tasks and pieces.

Both sides stand on this: the worker reads its rows and skips those that have an outcome, the orchestrator
rebuilds its ledger and finalizes.
"""

import io
import logging
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError
from ulid import ULID

from schemas import keys
from schemas.errors import JobNotFound, ObjectMissing, UnreadableObject
from schemas.job import ControlEvent, ControlState, JobDocument, RoundDocument, Summary, fold
from schemas.planned import PlannedRow
from schemas.result import ResultLine, best
from schemas.task import TaskMessage, TaskRecord
from services.store import ObjectStore

log = logging.getLogger(__name__)
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
TASK_SCHEMA = pa.schema(
    [
        ("task", pa.int64()),
        ("part", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int32()),
        ("rows", pa.int32()),
        ("images", pa.int32()),
        ("units", pa.float64()),
        ("pipeline", pa.string()),
        ("model", pa.string()),
        ("stages", pa.list_(pa.struct([("pipeline", pa.string()), ("model", pa.string())]))),
    ]
)
# Missing in tables that an earlier version wrote.
_LATER_COLUMNS = frozenset({"stages"})


@dataclass(frozen=True)
class Round:
    """The first plan (`round_id` None) or a retry: which tasks and parts it holds."""

    round_id: str | None
    first_task: int
    first_part: int
    tasks: int
    parts: int
    rows: int


def list_jobs(store: ObjectStore) -> Iterator[str]:
    """Ids of everything that looks like a job, also of submissions that were never finished."""
    for folder in store.list_folders(keys.JOBS):
        try:
            yield keys.parse_job_folder(folder)
        except ValueError:
            continue  # somebody else's folder is not ours to judge


def read_document(store: ObjectStore, job: str) -> JobDocument:
    """`job.json`.

    Raises:
        JobNotFound: there is none: no such job, or its submission was never finished.
    """
    if not keys.is_job_id(job):
        raise JobNotFound(f"{job!r} cannot be a job id", hint="`promptmill list` names all jobs")
    try:
        return _parsed(JobDocument, store, keys.job_document(job))
    except ObjectMissing:
        raise JobNotFound(f"no job {job!r} in {store.place}", hint="`promptmill list` names all jobs") from None


def read_summary(store: ObjectStore, job: str) -> Summary | None:
    """`summary.json`, or None while the job was never finalized."""
    try:
        return _parsed(Summary, store, keys.summary(job))
    except ObjectMissing:
        return None


def write_control(store: ObjectStore, job: str, event: ControlEvent, *, after: str = "") -> str:
    """Write a control event; returns its ULID.

    Args:
        after: the last event that its writer knew, which it follows also where this machine's clock is behind.
    """
    now = ULID()
    ulid = str(max(now, ULID.from_int(int(ULID.from_str(after)) + 1)) if after else now)
    store.put(keys.control(job, ulid, event.verb), event.model_dump_json().encode(), JSON)
    return ulid


def read_control(
    store: ObjectStore, document: JobDocument, known: dict[str, ControlEvent] | None = None
) -> ControlState:
    """The fold of all control events of a job. `known`, key -> event, spares reading the same ones again."""
    known = {} if known is None else known
    events = []
    for found in store.list(keys.control_folder(document.job)):
        try:
            ulid = keys.parse_control(found.key)[1]
        except ValueError:
            continue  # somebody else's file
        if found.key not in known:
            known[found.key] = _parsed(ControlEvent, store, found.key)
        events.append((ulid, known[found.key]))
    return fold(document.priority, events)


def read_rounds(store: ObjectStore, document: JobDocument) -> list[Round]:
    """The first plan and every retry that counts, in order.

    A retry exists once its `round.json` is there. Should two retries have raced for the same task numbers,
    the older one counts and the other is void: a rule that every reader comes to by itself.
    """
    totals = document.totals
    rounds = [Round(None, 0, 0, totals.tasks, totals.parts, totals.rows)]
    for round_id in sorted(_round_ids(store, document.job)):
        try:
            found = _parsed(RoundDocument, store, keys.round_document(document.job, round_id))
        except ObjectMissing:
            continue  # a retry that was never finished
        last = rounds[-1]
        if found.first_task < last.first_task + last.tasks or found.first_part < last.first_part + last.parts:
            continue
        size = found.totals
        rounds.append(Round(round_id, found.first_task, found.first_part, size.tasks, size.parts, size.rows))
    return rounds


_Document = TypeVar("_Document", bound=BaseModel)


def _parsed(kind: type[_Document], store: ObjectStore, key: str) -> _Document:
    """An object of the store as what it should be.

    Raises:
        UnreadableObject: it is something else, or of a later version.
    """
    data = store.get(key)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UnreadableObject(
            f"{key} cannot be read: {where}: {fault['msg']}", hint="it was written by a later version: update this one"
        ) from None


def _round_ids(store: ObjectStore, job: str) -> Iterator[str]:
    for folder in store.list_folders(keys.rounds_folder(job)):
        try:
            yield keys.parse_round_folder(folder)
        except ValueError:
            continue  # somebody else's folder


class TaskTable:
    """A task table being made, column by column: about 60 bytes a task."""

    def __init__(self) -> None:
        self._numbers = {
            name: array("d" if kind == pa.float64() else "q")
            for name, kind in zip(TASK_SCHEMA.names, TASK_SCHEMA.types, strict=True)
            if pa.types.is_primitive(kind)
        }
        self._stages: list[tuple[tuple[str, str], ...]] = []
        self._known: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}

    def __len__(self) -> int:
        return len(self._numbers["task"])

    def add(self, *, stages: tuple[tuple[str, str], ...], **values: Any) -> None:
        """Add a task.

        Args:
            stages: pipeline and model of each, in order.
            values: the table's numbers, by the names of `TASK_SCHEMA`.
        """
        for name, column in self._numbers.items():
            column.append(values[name])
        # Most tasks have one of a few chains: each is held once.
        self._stages.append(self._known.setdefault(stages, stages))

    def table(self) -> pa.Table:
        """The table, with the types of `TASK_SCHEMA`."""
        records = {known: [{"pipeline": name, "model": model} for name, model in known] for known in self._known}
        texts: dict[str, list[Any]] = {
            "pipeline": [stages[0][0] for stages in self._stages],
            "model": [stages[0][1] for stages in self._stages],
            "stages": [records[stages] for stages in self._stages],
        }
        return pa.table({name: (self._numbers | texts)[name] for name in TASK_SCHEMA.names}, schema=TASK_SCHEMA)


class PlanStore(Protocol):
    """What a plan is written to: the object store, or a place on its way there."""

    def put(self, key: str, data: bytes, content_type: str = ...) -> object:
        """Write an object."""

    def put_missing(self, key: str, data: bytes, content_type: str = ...) -> object:
        """Write an object unless it is there with the same content."""


def write_tasks(store: PlanStore, job: str, tasks: TaskTable, round_id: str | None = None) -> None:
    """Write the task table of a plan."""
    buffer = io.BytesIO()
    pq.write_table(tasks.table(), buffer, compression="zstd")
    store.put(keys.plan_tasks(job, round_id), buffer.getvalue(), "application/vnd.apache.parquet")


def read_tasks(store: ObjectStore, job: str, round_id: str | None = None) -> pa.Table:
    """The task table of a plan, columns as in `TASK_SCHEMA`; one of an earlier version may lack `stages`."""
    return pq.read_table(io.BytesIO(store.get(keys.plan_tasks(job, round_id))))


def task_record(table: pa.Table, position: int, round_id: str | None) -> TaskRecord:
    """One line of a task table."""
    names = [name for name in TASK_SCHEMA.names if name in table.column_names or name not in _LATER_COLUMNS]
    values = {name: table.column(name)[position].as_py() for name in names}
    return TaskRecord(round_id=round_id, **values)


def read_rows(store: ObjectStore, message: TaskMessage) -> list[PlannedRow]:
    """The rows that a message names."""
    part = keys.plan_part(message.job, message.part, message.round_id)
    return parse_rows(store.get_range(part, message.offset, message.length))


def read_plan_part(store: ObjectStore, job: str, part: int, round_id: str | None = None) -> list[PlannedRow]:
    """All rows of one part of a plan, in task order."""
    return parse_rows(store.get(keys.plan_part(job, part, round_id)))


def parse_rows(data: bytes) -> list[PlannedRow]:
    """Rows from the lines of a plan.

    Raises:
        UnreadableObject: it is none: bytes that a garbage message named, or a plan of a later version.
    """
    try:
        return [PlannedRow.model_validate_json(line) for line in data.splitlines() if line]
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise UnreadableObject(
            f"these bytes are no rows of a plan: {fault['msg']}", hint="a message of another job, or a later version"
        ) from None


def write_piece(store: ObjectStore, key: str, lines: Iterable[ResultLine]) -> None:
    """Commit rows: one immutable object with a line per row."""
    body = b"".join(line.model_dump_json(exclude_defaults=True).encode() + b"\n" for line in lines)
    store.put(key, body, JSON_LINES)


def read_piece(store: ObjectStore, key: str) -> list[ResultLine]:
    """The lines of a piece. A line of a shape that this version does not know is left out, not an error."""
    lines = []
    for text in store.get(key).splitlines():
        try:
            lines.append(ResultLine.model_validate_json(text))
        except ValidationError:
            log.warning("%s: a line that this version cannot read is left out; is a newer one at work?", key)
    return lines


def outcomes(store: ObjectStore, folder: str) -> dict[int, ResultLine]:
    """The line that counts for each row, by the row's index, over all pieces below a folder."""
    found: dict[int, list[ResultLine]] = {}
    for info in store.list(folder):
        try:
            keys.parse_piece(info.key)
        except ValueError:
            continue
        for line in read_piece(store, info.key):
            found.setdefault(line.index, []).append(line)
    return {index: best(lines) for index, lines in found.items()}


def task_outcomes(store: ObjectStore, job: str, part: int, task: int) -> dict[int, ResultLine]:
    """Outcomes of one task's rows so far."""
    return outcomes(store, keys.task_results_folder(job, part, task))


def part_outcomes(store: ObjectStore, job: str, part: int) -> dict[int, ResultLine]:
    """Outcomes of one part's rows so far."""
    return outcomes(store, keys.part_results_folder(job, part))
