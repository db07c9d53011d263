"""Rows whose prompts differ in length share a task and no loop; what one row lacks says nothing of its model."""

from collections.abc import Callable, Sequence

import pytest

from schemas.errors import ModelUnavailable, RenderFailed
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services import jobs
from tests.runner_steps import Watched, open_job, outcomes
from tests.small_mill import JOB, SmallMill, planned
from workers.engines.base import Rendered, Slot
from workers.engines.flat import FlatRoom
from workers.runner import run_task


class ByLength(Watched):
    """Parts a batch by the length of its prompts; `!syntax` is no prompt."""

    def apart(self, slots: Sequence[Slot]) -> list[list[Slot]]:
        if any("!syntax" in slot.row.prompt for slot in slots):
            raise RenderFailed("not a prompt")
        found: dict[int, list[Slot]] = {}
        for slot in slots:
            found.setdefault(len(slot.row.prompt), []).append(slot)
        return list(found.values())

    def info(self, row: PlannedRow) -> RenderInfo:
        found = super().info(row)
        return found.model_copy(update={"versions": {"weighting": str(row.weighting)}})


def weighted(index: int, prompt: str) -> PlannedRow:
    return planned(index, prompt, weighting="compel")


def test_each_length_has_a_loop_of_its_own(small_mill: SmallMill) -> None:
    room = ByLength(small_mill)
    rows = [weighted(0, "a"), weighted(1, "long"), planned(2, "b"), weighted(3, "more")]
    active = open_job(small_mill, [rows])
    assert run_task(active.message("0", 0), small_mill.place(room)) == "counted"
    assert room.batches == [[(0, 0), (2, 0)], [(1, 0), (3, 0)]]
    found = jobs.task_outcomes(small_mill.store, JOB, 0, 0)
    assert {line.images[0].batch_size for line in found.values()} == {2}
    assert [found[index].images[0].slot for index in range(4)] == [0, 0, 1, 1]
    told = [line.render.versions["weighting"] for _, line in sorted(found.items()) if line.render]
    assert told == ["compel", "compel", "None", "compel"]


def test_plain_rows_are_not_parted(small_mill: SmallMill) -> None:
    room = ByLength(small_mill)
    active = open_job(small_mill, [[planned(0, "a"), planned(1, "long")]])
    run_task(active.message("0", 0), small_mill.place(room))
    assert room.batches == [[(0, 0), (1, 0)]]


def test_a_prompt_that_cannot_be_read_fails_alone(small_mill: SmallMill) -> None:
    rows = [weighted(index, "!syntax" if index == 2 else "a") for index in range(5)]
    active = open_job(small_mill, [rows])
    run_task(active.message("0", 0), small_mill.place(ByLength(small_mill)))
    assert outcomes(small_mill) == {index: "render_error" if index == 2 else "done" for index in range(5)}


def test_a_lora_that_one_worker_lacks_is_not_its_model(small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
    class Room(FlatRoom):
        lacks = ""

        def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
            if any(use.name == self.lacks for use in slots[0].row.loras):
                raise ModelUnavailable(f"no LoRA {self.lacks}")
            return super().render(slots, on_step)

    monkeypatch.setattr("workers.runner.ELSEWHERE_SECONDS", 0)
    rows = [planned(0, loras=[{"name": "ink"}]), planned(1, loras=[{"name": "oil"}])]
    active = open_job(small_mill, [rows])
    rooms = [Room(small_mill.settings), Room(small_mill.settings)]
    rooms[0].lacks, rooms[1].lacks = "ink", "oil"
    here, there = (small_mill.place(room) for room in rooms)
    small_mill.appear(here, there)
    assert run_task(active.message("0", 0), here) == "given_back"
    assert run_task(active.message("0", 0), there) == "given_back", "it has made the row that the first could not"
    assert outcomes(small_mill) == {0: "done"}
    assert run_task(active.message("0", 0), here) == "counted"
    assert outcomes(small_mill) == {0: "done", 1: "done"}
