"""Steps that many tests of the committer take."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from schemas.planned import PlannedRow
from schemas.result import RenderInfo, ResultLine
from schemas.task import TaskMessage
from services import jobs
from tests.memory_store import MemoryStore
from tests.small_mill import JOB
from workers.commit import Committer
from workers.engines.base import Rendered, Slot

TOKEN = "a" * 16


MESSAGE = TaskMessage(job=JOB, task=3, part=1, offset=0, length=1, attempt=2)


RENDER = RenderInfo(device="d", dtype="t", versions={}, model_source="s", model_revision=None, safety="keep")


@contextmanager
def committer(store: MemoryStore, **changes: Any) -> Iterator[Committer]:
    values: dict[str, Any] = {"worker": "w", "version": "1", "threads": 2, "piece_seconds": 30}
    with Committer(store, MESSAGE, token=TOKEN, **(values | {"on_progress": lambda: None} | changes)) as made:
        yield made


def picture(value: int = 0, **changes: Any) -> Rendered:
    return Rendered(np.full((8, 16, 3), value, np.uint8), **changes)


def add(made: Committer, row: PlannedRow, number: int = 0, image: Rendered | None = None) -> None:
    slot = Slot(row, number, row.seed + number)
    made.add(slot, image or picture(), batch_size=4, place=number, render=RENDER, share=0.5)


def finish(made: Committer, *rows: PlannedRow) -> None:
    for row in rows:
        made.begin(row, {})
        for number in range(row.num_images):
            add(made, row, number)


def lines(store: MemoryStore) -> dict[int, ResultLine]:
    return jobs.task_outcomes(store, JOB, 1, 3)


def pieces(store: MemoryStore) -> list[str]:
    return [key for key in store.objects if "/results/" in key]


def until(happened: Callable[[], object]) -> None:
    for _ in range(2000):
        if happened():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")
