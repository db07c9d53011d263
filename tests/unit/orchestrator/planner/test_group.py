"""Rows that can share a denoising loop stand together; tasks are cut by cost and by number."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planner.group import cut_tasks, grouped
from schemas.planned import PlannedRow
from tests.small_mill import planned

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["tiny", "tiny-2"]), st.sampled_from([8, 16]), st.sampled_from([1, 2]), st.integers(1, 3)
    ),
    max_size=40,
).map(
    lambda kinds: [
        planned(index, model=model, width=width, steps=steps, num_images=images)
        for index, (model, width, steps, images) in enumerate(kinds)
    ]
)


def indices(rows: list[PlannedRow]) -> list[int]:
    return [row.index for row in rows]


class TestGrouped:
    @given(ROWS, st.integers(1, 50))
    def test_every_row_comes_once_whatever_the_window(self, rows: list[PlannedRow], window: int) -> None:
        assert sorted(indices(list(grouped(rows, window)))) == list(range(len(rows)))

    @given(ROWS)
    def test_in_one_window_each_batch_key_comes_in_one_piece(self, rows: list[PlannedRow]) -> None:
        keys = [row.batch_key() for row in grouped(rows)]
        runs = [key for place, key in enumerate(keys) if place == 0 or keys[place - 1] != key]
        assert len(runs) == len(set(keys))

    @given(ROWS)
    def test_so_does_each_model(self, rows: list[PlannedRow]) -> None:
        models = [row.model for row in grouped(rows)]
        assert sum(models[place] != models[place - 1] for place in range(1, len(models))) < max(len(set(models)), 1)

    @given(ROWS, st.integers(1, 50))
    def test_rows_that_share_a_loop_keep_the_order_of_the_manifest(self, rows: list[PlannedRow], window: int) -> None:
        ordered = list(grouped(rows, window))
        for key in {row.batch_key() for row in rows}:
            places = indices([row for row in ordered if row.batch_key() == key])
            assert places == sorted(places)

    @given(ROWS, st.integers(1, 50))
    def test_no_row_leaves_its_window(self, rows: list[PlannedRow], window: int) -> None:
        for place, row in enumerate(grouped(rows, window)):
            assert row.index // window == place // window

    @pytest.mark.parametrize("count", [0, 3, 4, 8])
    def test_a_last_window_that_is_empty_or_full_adds_nothing(self, count: int) -> None:
        assert indices(list(grouped((planned(index) for index in range(count)), 4))) == list(range(count))

    def test_memory_holds_one_window(self) -> None:
        def rows() -> Iterator[PlannedRow]:
            for index in range(3000):
                yield planned(index, prompt="x" * 10_000)

        tracemalloc.start()
        for _ in grouped(rows(), 100):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5_000_000  # 30 MB in all


class TestCutTasks:
    @given(ROWS, st.floats(1e-6, 1e-3), st.integers(1, 7))
    def test_tasks_hold_all_rows_in_order(self, rows: list[PlannedRow], task_units: float, task_rows: int) -> None:
        tasks = list(cut_tasks(rows, task_units=task_units, task_rows=task_rows))
        assert [row for task in tasks for row in task] == rows
        assert all(tasks)

    @given(ROWS, st.floats(1e-6, 1e-3), st.integers(1, 7))
    def test_a_task_is_closed_by_the_row_that_fills_it_and_no_earlier(
        self, rows: list[PlannedRow], task_units: float, task_rows: int
    ) -> None:
        tasks = list(cut_tasks(rows, task_units=task_units, task_rows=task_rows))
        for place, task in enumerate(tasks):
            assert len({(row.pipeline, row.model) for row in task}) == 1
            assert len(task) <= task_rows
            assert sum(row.units() for row in task[:-1]) < task_units
            full = len(task) == task_rows or sum(row.units() for row in task) >= task_units
            other = place + 1 < len(tasks) and tasks[place + 1][0].model != task[0].model
            assert full or other or place == len(tasks) - 1

    @pytest.mark.parametrize(
        ("limits", "sizes"),
        [
            ({"task_units": 1e9, "task_rows": 4}, [4, 4, 2]),
            ({"task_units": 2.0, "task_rows": 100}, [2, 2, 2, 2, 2]),
            ({"task_units": 0.5, "task_rows": 100}, [1] * 10),
            ({"task_units": 1e9, "task_rows": 10}, [10]),
        ],
        ids=["by rows", "by units", "a row that costs more than a task", "exactly full"],
    )
    def test_sizes(self, limits: dict[str, Any], sizes: list[int]) -> None:
        rows = [planned(index, width=512, height=512, steps=50) for index in range(10)]
        assert [len(task) for task in cut_tasks(rows, **limits)] == sizes

    def test_no_rows_make_no_task(self) -> None:
        assert list(cut_tasks([], task_units=1, task_rows=1)) == []
