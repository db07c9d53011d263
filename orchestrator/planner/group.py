"""Rows that can share a denoising loop are brought together, in a window of bounded size, and cut into tasks."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

WINDOW_ROWS = 8192


class Plannable(Protocol):
    """What the planner asks of a row: `PlannedRow`, or a line that stands for one."""

    @property
    def num_images(self) -> int: ...
    def kept_images(self) -> int: ...
    def stages(self) -> tuple[tuple[str, str], ...]: ...
    def batch_key(self) -> tuple[object, ...]: ...
    def units(self) -> float: ...
    def line(self) -> bytes: ...


AnyRow = TypeVar("AnyRow", bound=Plannable)


def grouped(rows: Iterable[AnyRow], window: int = WINDOW_ROWS) -> Iterator[AnyRow]:
    """Order rows so that equal batch keys stand together; memory holds one window.

    Groups come in the order of their first row, rows in a group in the order of the manifest: planning the same
    manifest again gives the same plan.
    """
    groups: dict[tuple[object, ...], list[AnyRow]] = {}
    held = 0
    last, group = None, []
    for row in rows:
        stages = row.stages()
        if stages is not last:  # rows of one kind mostly come one after the other
            last, group = stages, groups.setdefault(stages, [])
        group.append(row)
        held += 1
        if held == window:
            yield from _by_batch_key(groups)
            groups, held, last = {}, 0, None
    yield from _by_batch_key(groups)


def _by_batch_key(groups: dict[tuple[object, ...], list[AnyRow]]) -> Iterator[AnyRow]:
    for rows in groups.values():
        keyed: dict[tuple[object, ...], list[AnyRow]] = {}
        last, group = None, []
        for row in rows:
            key = row.batch_key()
            if key is not last:
                last, group = key, keyed.setdefault(key, [])
            group.append(row)
        for same in keyed.values():
            yield from same


def cut_tasks(rows: Iterable[AnyRow], *, task_units: float, task_rows: int) -> Iterator[list[AnyRow]]:
    """Cut ordered rows into tasks: the same stages (pipeline and model) each, closed at `task_units` or `task_rows`."""
    task: list[AnyRow] = []
    stages: tuple[object, ...] = ()
    cost = 0.0
    for row in rows:
        if task and row.stages() != stages:
            yield task
            task, cost = [], 0.0
        if not task:
            stages = row.stages()
        task.append(row)
        cost += row.units()
        if cost >= task_units or len(task) >= task_rows:
            yield task
            task, cost = [], 0.0
    if task:
        yield task
