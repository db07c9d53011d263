"""Finds a row in the plan by its id or its number, with the tasks that it stands in."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import pyarrow.compute as pc

from orchestrator.prefetch import prefetch
from schemas import keys
from schemas.errors import JobNotFound
from schemas.job import JobDocument
from schemas.planned import PlannedRow
from schemas.task import member_name
from services import jobs
from services.store import ObjectStore

READERS = 16


@dataclass(frozen=True)
class RowPlace:
    """Where a row stands in one round: its task, and its place among the task's rows, from 0."""

    row: PlannedRow
    round_id: str | None
    part: int
    task: int
    place: int

    @property
    def member(self) -> str:
        """Its task, in the ledger's words."""
        return member_name(self.task)

    @property
    def alone(self) -> str:
        """The row alone, in the ledger's words."""
        return member_name(self.task, self.place)


def find_row(store: ObjectStore, document: JobDocument, name: str) -> list[RowPlace]:
    """Where a row stands, in every round that holds it. Reads the plan part by part until it is found.

    Args:
        name: the row's id or, where no row has this id, its number from 0.

    Raises:
        JobNotFound: the job has no such row.
    """
    rounds = jobs.read_rounds(store, document)
    first = _in_round(store, document.job, rounds[0], "id", name)
    if first is None and name.isdecimal():
        first = _in_round(store, document.job, rounds[0], "index", int(name))
    if first is None:
        raise JobNotFound(
            f"no row {name!r} in job {document.job!r}",
            hint="give its id, or its number from 0; `promptmill status JOB --failed` names rows that failed",
        )
    index = first.row.index
    later = (_in_round(store, document.job, found, "index", index) for found in rounds[1:])
    return [first, *(place for place in later if place is not None)]


def _in_round(store: ObjectStore, job: str, plan: jobs.Round, field: str, value: str | int) -> RowPlace | None:
    needle = f'"{field}":{json.dumps(value, ensure_ascii=False)}'.encode()

    def look(part: int) -> tuple[int, int, PlannedRow] | None:
        data = store.get(keys.plan_part(job, part, plan.round_id))
        found = next(_rows_with(data, needle, field, value), None) if needle in data else None
        return None if found is None else (part, *found)

    parts = range(plan.first_part, plan.first_part + plan.parts)
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="plan")
    with pool, closing(prefetch(pool, look, parts, READERS)) as looks:
        hit = next((found for found in looks if found is not None), None)
    if hit is None:
        return None
    part, offset, row = hit
    task, place = _task_at(store, job, plan, part, offset)
    return RowPlace(row, plan.round_id, part, task, place)


def _rows_with(data: bytes, needle: bytes, field: str, value: str | int) -> Iterator[tuple[int, PlannedRow]]:
    """Rows of a part with this value, each with the offset of its line."""
    offset = 0
    for line in data.splitlines(keepends=True):
        if needle in line:
            row = PlannedRow.model_validate_json(line)
            if getattr(row, field) == value:
                yield offset, row
        offset += len(line)


def _task_at(store: ObjectStore, job: str, plan: jobs.Round, part: int, offset: int) -> tuple[int, int]:
    """The task whose bytes hold an offset of a part, and how many of its rows stand before that."""
    table = jobs.read_tasks(store, job, plan.round_id)
    mine = table.filter(pc.and_(pc.equal(table["part"], part), pc.less_equal(table["offset"], offset)))
    last = mine.num_rows - 1  # tasks stand in the order of the plan
    task, start = mine["task"][last].as_py(), mine["offset"][last].as_py()
    before = store.get_range(keys.plan_part(job, part, plan.round_id), start, offset - start) if offset > start else b""
    return task, before.count(b"\n")
