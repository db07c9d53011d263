"""Bad rows fail alone; memory that is short halves the batch; inputs are read a little ahead."""

import io
from collections.abc import Callable, Sequence

import pytest
from PIL import Image

from schemas.errors import ModelUnavailable
from schemas.planned import InputImage
from services import jobs
from tests.memory_store import MemoryStore
from tests.runner_steps import Watched, counts, open_job, outcomes
from tests.small_mill import JOB, SmallMill, planned
from workers.engines.base import Rendered, Slot
from workers.engines.flat import FlatRoom
from workers.runner import run_task


class TestBadRows:
    @pytest.mark.parametrize(
        ("prompt", "error_class"),
        [
            ("!raise", "render_error"),
            ("!crash", "render_error"),
            ("!oom>0", "out_of_memory"),
        ],
    )
    def test_one_bad_row_fails_alone(self, small_mill: SmallMill, prompt: str, error_class: str) -> None:
        rows = [planned(index) for index in range(8)]
        rows[5] = planned(5, prompt)
        active = open_job(small_mill, [rows])
        assert run_task(active.message("0", 0), small_mill.place()) == "counted"
        assert outcomes(small_mill) == {index: error_class if index == 5 else "done" for index in range(8)}
        assert counts(small_mill) == (1, 7, 1, 7)

    def test_a_model_that_cannot_be_loaded_fails_its_rows_and_not_those_of_another(self, small_mill: SmallMill) -> None:
        class Room(FlatRoom):
            def load(self, model: str, on_progress: Callable[[], None]) -> None:
                if model == "tiny-2":
                    raise ModelUnavailable("gated")

        active = open_job(small_mill, [[planned(0), planned(1, model="tiny-2"), planned(2, model="tiny-2")]])
        place = small_mill.place(Room(small_mill.settings))
        small_mill.appear(place)
        run_task(active.message("0", 0), place)
        assert outcomes(small_mill) == {0: "done", 1: "model_unavailable", 2: "model_unavailable"}

    def test_a_model_that_another_worker_may_have_fails_no_row(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Room(FlatRoom):
            def load(self, model: str, on_progress: Callable[[], None]) -> None:
                raise ModelUnavailable("not on this machine")

        monkeypatch.setattr("workers.runner.ELSEWHERE_SECONDS", 0)
        active = open_job(small_mill, [[planned(0), planned(1)]])
        here, there = (small_mill.place(Room(small_mill.settings)) for _ in range(2))
        small_mill.appear(here, there)
        assert run_task(active.message("0", 0), here) == "given_back"
        assert outcomes(small_mill) == {}
        assert small_mill.ledger.notes(JOB) == ({}, {"0": "not on this machine"})
        assert run_task(active.message("0", 0), here) == "given_back", "the other was not asked yet"
        assert run_task(active.message("0", 0), there) == "counted"
        assert outcomes(small_mill) == {0: "model_unavailable", 1: "model_unavailable"}

    def test_of_a_row_that_fails_no_more_images_are_rendered(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0, "!raise", num_images=40), planned(1)]])
        room = Watched(small_mill, max_batch=1)
        run_task(active.message("0", 0), small_mill.place(room))
        assert outcomes(small_mill) == {0: "render_error", 1: "done"}
        assert room.steps == 1 + 2, "one attempt at the bad row, and the steps of the good one"

    def test_the_attempts_of_a_row_are_told(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0, "!raise")]])
        run_task(active.message("0", 2), small_mill.place())
        (line,) = jobs.task_outcomes(small_mill.store, JOB, 0, 0).values()
        assert line.failure is not None
        assert line.failure.attempts == 3

    @pytest.mark.parametrize(("prompt", "streak"), [("!raise", (2, "render_error")), ("plain", (0, ""))])
    def test_failures_can_pause_the_job_and_bad_inputs_cannot(
        self, small_mill: SmallMill, prompt: str, streak: tuple[int, str]
    ) -> None:
        gone = InputImage(address="jobs/job/inputs/gone.png")
        bad = [planned(index, pipeline="img2img", strength=1.0, image=gone) for index in (2, 3)]
        active = open_job(small_mill, [[planned(0, prompt), planned(1, prompt), *bad]])
        run_task(active.message("0", 0), small_mill.place())
        assert outcomes(small_mill)[2] == "invalid_input"
        progress = small_mill.progress()
        assert (progress.streak, progress.streak_class) == streak


class TestMemory:
    def test_a_batch_that_does_not_fit_is_halved_until_it_does(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(index, "!oom>2") for index in range(8)]])
        room = Watched(small_mill)
        run_task(active.message("0", 0), small_mill.place(room))
        assert outcomes(small_mill) == dict.fromkeys(range(8), "done")
        assert [len(batch) for batch in room.batches] == [2, 2, 2, 2]

    def test_what_was_learned_holds_for_the_next_task(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(8 * task + row, "!oom>2") for row in range(8)] for task in range(2)])
        room = Watched(small_mill)
        place = small_mill.place(room)
        run_task(active.message("0", 0), place)
        tried: list[int] = []
        room.after_step = lambda step: None
        original = room.render

        def render(slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
            tried.append(len(slots))
            return original(slots, on_step)

        room.render = render  # type: ignore[method-assign]
        run_task(active.message("1", 0), place)
        assert tried == [2, 2, 2, 2]

    def test_a_row_that_never_fits_fails_alone_and_its_mates_do_not(self, small_mill: SmallMill) -> None:
        rows = [planned(index) for index in range(4)]
        rows[2] = planned(2, "!oom>0", num_images=3)
        active = open_job(small_mill, [rows])
        run_task(active.message("0", 0), small_mill.place())
        assert outcomes(small_mill) == {0: "done", 1: "done", 2: "out_of_memory", 3: "done"}


class TestInputs:
    def test_a_row_whose_input_is_bad_fails_and_the_others_are_rendered(
        self, small_mill: SmallMill, memory_store: MemoryStore
    ) -> None:
        file = io.BytesIO()
        Image.new("RGB", (16, 8)).save(file, "PNG")
        memory_store.objects["jobs/job/inputs/a.png"] = file.getvalue()
        good, bad = (InputImage(address=f"jobs/job/inputs/{name}.png") for name in ("a", "gone"))
        rows = [
            planned(index, pipeline="img2img", strength=1.0, image=bad if index % 3 == 1 else good)
            for index in range(12)
        ]
        active = open_job(small_mill, [rows])
        room = Watched(small_mill)
        run_task(active.message("0", 0), small_mill.place(room))
        assert outcomes(small_mill) == {index: "invalid_input" if index % 3 == 1 else "done" for index in range(12)}
        assert [len(batch) for batch in room.batches] == [8]

    def test_inputs_are_read_only_a_little_ahead(self, small_mill: SmallMill, memory_store: MemoryStore) -> None:
        file = io.BytesIO()
        Image.new("RGB", (16, 8)).save(file, "PNG")
        memory_store.objects["jobs/job/inputs/a.png"] = file.getvalue()
        image = InputImage(address="jobs/job/inputs/a.png")
        rows = [planned(index, pipeline="img2img", strength=1.0, image=image) for index in range(30)]
        active = open_job(small_mill, [rows])
        read: list[int] = []
        room = Watched(
            small_mill, lambda step: read.append(sum("/inputs/" in key for _, key in memory_store.asked)), max_batch=2
        )
        run_task(active.message("0", 0), small_mill.place(room))
        assert read[0] <= 2 + 8
        assert outcomes(small_mill) == dict.fromkeys(range(30), "done")


class TestSafety:
    def test_one_flagged_image_fails_nobody(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0, "!flag"), planned(1)]])
        run_task(active.message("0", 0), small_mill.place(safety="drop"))
        found = jobs.task_outcomes(small_mill.store, JOB, 0, 0)
        assert {index: line.status for index, line in found.items()} == {0: "done", 1: "done"}
        assert [(image.flagged, image.dropped, image.key) for image in found[0].images] == [(True, True, None)]
