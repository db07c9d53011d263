"""Rows that can share a denoising loop are brought together, in a window of bounded size, and cut into tasks."""

from collections.abc import Iterable, Iterator

from schemas.planned import PlannedRow

WINDOW_ROWS = 8192


def grouped(rows: Iterable[PlannedRow], window: int = WINDOW_ROWS) -> Iterator[PlannedRow]:
    """Order rows so that equal batch keys stand together; memory holds one window.

    Groups come in the order of their first row, rows in a group in the order of the manifest: planning the same
    manifest again gives the same plan.
    """
    groups: dict[tuple[object, ...], list[PlannedRow]] = {}
    held = 0
    for row in rows:
        groups.setdefault(row.stages(), []).append(row)
        held += 1
        if held == window:
            yield from _by_batch_key(groups)
            groups, held = {}, 0
    yield from _by_batch_key(groups)


def _by_batch_key(groups: dict[tuple[object, ...], list[PlannedRow]]) -> Iterator[PlannedRow]:
    for rows in groups.values():
        keyed: dict[tuple[object, ...], list[PlannedRow]] = {}
        for row in rows:
            keyed.setdefault(row.batch_key(), []).append(row)
        for same in keyed.values():
            yield from same


def cut_tasks(rows: Iterable[PlannedRow], *, task_units: float, task_rows: int) -> Iterator[list[PlannedRow]]:
    """Cut ordered rows into tasks: the same stages (pipeline and model) each, closed at `task_units` or `task_rows`."""
    task: list[PlannedRow] = []
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
