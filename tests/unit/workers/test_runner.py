"""One task from its lease to its last piece, with the flat engine: real Redis, pieces and messages."""

import io
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.rebuild import open_in_ledger
from schemas import keys
from schemas.errors import LedgerUnavailable, ModelUnavailable, StoreUnavailable
from schemas.planned import InputImage, PlannedRow
from schemas.result import ResultLine
from schemas.task import TaskMessage
from services import jobs
from services.ledger import CountDelta
from services.settings import WorkerSettings
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, SmallMill, planned, tasks_of, write_job
from workers.commit import Committer
from workers.engines.base import DeviceLost, Rendered, Slot
from workers.engines.flat import FlatRoom
from workers.runner import run_task


class Watched(FlatRoom):
    """The flat engine, which notes every batch and does something after a step."""

    def __init__(
        self, mill: SmallMill, after_step: Callable[[int], None] = lambda step: None, max_batch: int = 8
    ) -> None:
        super().__init__(mill.settings.model_copy(update={"worker": WorkerSettings(max_batch=max_batch)}))
        self.batches: list[list[tuple[int, int]]] = []
        self.steps = 0
        self.after_step = after_step

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        def step() -> None:
            self.steps += 1
            self.after_step(self.steps)
            on_step()

        found = super().render(slots, step)
        self.batches.append([(slot.row.index, slot.number) for slot in slots])
        return found

    @property
    def images(self) -> Counter[int]:
        """Images rendered, by row."""
        return Counter(index for batch in self.batches for index, _ in batch)


def open_job(mill: SmallMill, tasks: list[list[PlannedRow]]) -> ActiveJob:
    write_job(mill.store, tasks)
    active = ActiveJob.load(mill.store, JOB)
    open_in_ledger(active, mill.ledger, hold_seconds=0)
    mill.ledger.take(JOB, 100)
    return active


def outcomes(mill: SmallMill, task: int = 0) -> dict[int, str]:
    found = jobs.task_outcomes(mill.store, JOB, 0, task)
    return {index: line.failure.error_class if line.failure else line.status for index, line in sorted(found.items())}


def counts(mill: SmallMill) -> tuple[int, int, int, int]:
    progress = mill.progress()
    return progress.counted, progress.done, progress.failed, progress.images


def commit(mill: SmallMill, rows: list[PlannedRow], status: str = "done", number: int = 0) -> None:
    """An earlier worker finished these rows."""
    lines = [
        ResultLine.model_validate({"index": row.index, "id": row.id, "status": status, "token": "0" * 16})
        for row in rows
    ]
    jobs.write_piece(mill.store, keys.piece(JOB, 0, 0, "0" * 16, number), lines)


class TestTheOrdinaryWay:
    def test_a_task_is_rendered_committed_and_counted(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0), planned(1, num_images=3), planned(2)]])
        assert run_task(active.message("0", 0), small_mill.place()) == "counted"
        assert outcomes(small_mill) == {0: "done", 1: "done", 2: "done"}
        assert counts(small_mill) == (1, 3, 0, 5)
        assert small_mill.progress().units == pytest.approx(active.document.totals.units, rel=0.1)
        assert small_mill.ledger.flights(JOB) == []
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith(("lease", "upload"))]
        assert left == []

    def test_image_k_has_seed_plus_k(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0, num_images=3, seed=7)]])
        run_task(active.message("0", 0), small_mill.place())
        (line,) = jobs.task_outcomes(small_mill.store, JOB, 0, 0).values()
        assert [image.seed for image in line.images] == [7, 8, 9]

    def test_rows_with_other_batch_keys_are_rendered_apart(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0), planned(1), planned(2, width=32), planned(3, num_images=9)]])
        room = Watched(small_mill)
        run_task(active.message("0", 0), small_mill.place(room))
        assert [[row for row, _ in batch] for batch in room.batches] == [[0, 1], [2], [3] * 8, [3]]

    def test_exact_mode_renders_one_by_one(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(0), planned(1, num_images=2)]])
        run_task(active.message("0", 0), small_mill.place(exact=True))
        lines = jobs.task_outcomes(small_mill.store, JOB, 0, 0).values()
        assert {(image.batch_size, image.slot) for line in lines for image in line.images} == {(1, 0)}

    def test_the_log_has_one_line_for_every_denoised_image(
        self, small_mill: SmallMill, caplog: pytest.LogCaptureFixture
    ) -> None:
        active = open_job(small_mill, [[planned(0, num_images=2), planned(1)]])
        with caplog.at_level(logging.INFO, "workers.runner"):
            run_task(active.message("0", 0), small_mill.place())
        rendered = [text for text in caplog.messages if text.startswith("rendered ")]
        assert rendered == [
            "rendered job=job row=row-0 image=0 seed=100",
            "rendered job=job row=row-0 image=1 seed=101",
            "rendered job=job row=row-1 image=0 seed=101",
        ]

    def test_one_row_alone_is_counted_alone(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, tasks_of(3))
        small_mill.ledger.split(JOB, 0, range(3))
        room = Watched(small_mill)
        assert run_task(active.message("0.1", 0), small_mill.place(room)) == "counted"
        assert room.images == {1: 1}
        assert counts(small_mill) == (0, 1, 0, 1)

    def test_finished_rows_are_committed_while_the_task_goes_on(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(index, width=16 + 8 * index) for index in range(4)]])
        seen: list[int] = []
        room = Watched(small_mill, lambda step: seen.append(len(outcomes(small_mill))))
        run_task(active.message("0", 0), small_mill.place(room, piece_seconds=1e-6))
        assert seen == sorted(seen)
        assert seen[-1] >= 1

    def test_progress_is_told_while_it_renders(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [[planned(index, width=16 + 8 * index, num_images=2) for index in range(3)]])
        told = self.told(small_mill, active)
        assert told == sorted(told)
        assert told[0] == (0, 0)
        assert told[-1][0] in (1, 2)
        assert told[-1][1] in (2, 3, 4)

    def test_rows_that_an_earlier_lease_finished_are_told_with_it_and_failed_ones_are_not(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [planned(index, width=16 + 8 * index) for index in range(4)]
        active = open_job(small_mill, [rows])
        commit(small_mill, rows[:1])
        commit(small_mill, rows[1:2], status="failed", number=1)
        monkeypatch.setattr(Committer, "rows_done", property(lambda self: 0))
        assert {done for done, _ in self.told(small_mill, active)} == {0, 1}

    def told(self, mill: SmallMill, active: ActiveJob) -> list[tuple[int, int]]:
        """Rows and images that the ledger tells of the task, step by step."""
        found: list[tuple[int, int]] = []

        def look(step: int) -> None:
            threading.Event().wait(0.06)
            found.extend((flight.rows, flight.images) for flight in mill.ledger.flights(JOB))

        run_task(active.message("0", 0), mill.place(Watched(mill, look), lease_seconds=0.12))
        return found


class TestRefusals:
    @pytest.mark.parametrize("state", ["leased", "counted", "split", "paused", "cancelled", "unknown"])
    def test_a_message_that_names_nothing_to_do_reads_nothing(self, small_mill: SmallMill, state: str) -> None:
        active = open_job(small_mill, tasks_of(2))
        message = active.message("0", 0)
        if state == "leased":
            small_mill.ledger.lease(JOB, "0", worker="other", seconds=60)
        elif state == "counted":
            small_mill.ledger.count(JOB, "0", CountDelta(2, 0, 2, 1))
        elif state == "split":
            small_mill.ledger.split(JOB, 0, range(2))
        elif state == "unknown":
            small_mill.redis.flushall()
        else:
            small_mill.steer({"paused": "pause", "cancelled": "cancel"}[state])  # type: ignore[arg-type]
            small_mill.ledger.steer(JOB, active.refresh_control())
        store = small_mill.store
        assert isinstance(store, MemoryStore)
        store.asked.clear()
        room = Watched(small_mill)
        assert run_task(message, small_mill.place(room)) == "refused"
        assert (room.batches, store.asked) == ([], [])

    def test_a_redis_that_is_away_refuses_too(self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
        active = open_job(small_mill, tasks_of(1))
        monkeypatch.setattr(small_mill.ledger, "lease", failing(LedgerUnavailable("away")))
        assert run_task(active.message("0", 0), small_mill.place()) == "refused"

    @pytest.mark.parametrize("junk", [{"part": 999}, {"offset": 10**9}, {"round_id": "0" * 26}])
    def test_a_message_that_names_no_rows_is_given_back(self, small_mill: SmallMill, junk: dict[str, Any]) -> None:
        message: TaskMessage = open_job(small_mill, tasks_of(1)).message("0", 0).model_copy(update=junk)
        assert run_task(message, small_mill.place()) in ("given_back", "counted")
        assert outcomes(small_mill) == {}


class TestWhatIsThereAlready:
    def test_rows_with_an_outcome_are_never_rendered_again(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(4)
        active = open_job(small_mill, tasks)
        commit(small_mill, tasks[0][:2])
        room = Watched(small_mill)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "counted"
        assert room.images == {2: 1, 3: 1}
        assert counts(small_mill)[:3] == (1, 4, 0)

    def test_nor_are_failed_ones(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(2)
        active = open_job(small_mill, tasks)
        commit(small_mill, tasks[0][:1], status="failed")
        room = Watched(small_mill)
        run_task(active.message("0", 0), small_mill.place(room))
        assert room.images == {1: 1}
        assert counts(small_mill)[:3] == (1, 1, 1)

    def test_a_task_that_was_only_not_counted_is_counted_without_rendering(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(2)
        active = open_job(small_mill, tasks)
        commit(small_mill, tasks[0])
        room = Watched(small_mill)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "counted"
        assert room.batches == []
        assert counts(small_mill)[:3] == (1, 2, 0)

    def test_a_doubled_message_is_rendered_once(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, tasks_of(2))
        room = Watched(small_mill)
        answers = [run_task(active.message("0", 0), small_mill.place(room)) for _ in range(2)]
        assert answers == ["counted", "refused"]
        assert room.images == {0: 1, 1: 1}


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
        run_task(active.message("0", 0), small_mill.place(Room(small_mill.settings)))
        assert outcomes(small_mill) == {0: "done", 1: "model_unavailable", 2: "model_unavailable"}

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


class TestInterruptions:
    def rows(self) -> list[PlannedRow]:
        """Four rows that share no loop."""
        return [planned(index, width=16 + 8 * index) for index in range(4)]

    def test_term_commits_the_finished_rows_and_gives_back_the_rest(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [self.rows()])
        room = Watched(small_mill, lambda step: small_mill.stopping.set() if step == 5 else None)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "given_back"
        assert outcomes(small_mill) == {0: "done", 1: "done"}
        assert room.steps == 5, "it stopped at the next step"
        assert small_mill.ledger.notes(JOB)[0] == {}, "being preempted is no loss"
        small_mill.stopping.clear()
        assert small_mill.ledger.take(JOB, 9) == [("0", 0)]
        room = Watched(small_mill)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "counted"
        assert room.images == {2: 1, 3: 1}
        assert counts(small_mill)[:3] == (1, 4, 0)

    def test_term_after_the_last_row_counts_the_task(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, tasks_of(1))
        original = FlatRoom.info

        class Room(FlatRoom):
            def info(self, model: str) -> Any:
                small_mill.stopping.set()
                return original(self, model)

        assert run_task(active.message("0", 0), small_mill.place(Room(small_mill.settings))) == "counted"

    def test_a_cancel_stops_at_a_step_and_keeps_what_is_finished(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [self.rows()])

        def cancel(step: int) -> None:
            if step == 3:
                small_mill.steer("cancel")
                small_mill.ledger.steer(JOB, active.refresh_control())
            if step >= 3:
                threading.Event().wait(0.06)

        room = Watched(small_mill, cancel)
        assert run_task(active.message("0", 0), small_mill.place(room, lease_seconds=0.12)) == "given_back"
        assert outcomes(small_mill) == {0: "done"}
        assert small_mill.ledger.flights(JOB) == []

    def test_a_pause_lets_the_batch_end(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [self.rows()])

        def pause(step: int) -> None:
            if step == 1:
                small_mill.steer("pause")
                small_mill.ledger.steer(JOB, active.refresh_control())
            threading.Event().wait(0.06)

        room = Watched(small_mill, pause)
        assert run_task(active.message("0", 0), small_mill.place(room, lease_seconds=0.12)) == "given_back"
        assert outcomes(small_mill) == {0: "done"}
        assert room.steps == 2

    def test_one_whose_lease_is_anothers_stops_and_takes_nothing_from_it(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [self.rows()])
        token = ""

        def usurp(step: int) -> None:
            nonlocal token
            if step == 3:
                small_mill.redis.flushall()
                open_in_ledger(active, small_mill.ledger, hold_seconds=0)
                token = small_mill.ledger.lease(JOB, "0", worker="other", seconds=60).token
            if step >= 3:
                threading.Event().wait(0.06)

        room = Watched(small_mill, usurp)
        assert run_task(active.message("0", 0), small_mill.place(room, lease_seconds=0.12)) == "given_back"
        assert outcomes(small_mill) == {0: "done"}, "what it had finished stays"
        assert [flight.token for flight in small_mill.ledger.flights(JOB)] == [token]

    def test_a_redis_that_forgets_stops_nobody(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [self.rows()])
        room = Watched(small_mill, lambda step: small_mill.redis.flushall() if step == 3 else None)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "counted"
        assert outcomes(small_mill) == dict.fromkeys(range(4), "done")
        open_in_ledger(active, small_mill.ledger, hold_seconds=0)
        assert counts(small_mill)[:3] == (1, 4, 0)

    def test_a_lost_device_keeps_what_is_finished_and_ends_the_process(self, small_mill: SmallMill) -> None:
        rows = self.rows()
        rows[2] = planned(2, "!lost", width=32)
        active = open_job(small_mill, [rows])
        with pytest.raises(DeviceLost):
            run_task(active.message("0", 0), small_mill.place())
        assert outcomes(small_mill) == {0: "done", 1: "done"}
        assert [flight.member for flight in small_mill.ledger.flights(JOB)] == ["0"], "the lease runs out: a loss"

    def test_even_if_the_store_is_away_as_well(self, small_mill: SmallMill, memory_store: MemoryStore) -> None:
        rows = self.rows()
        rows[2] = planned(2, "!lost", width=32)
        active = open_job(small_mill, [rows])
        memory_store.fault = refuse("put", "/results/")
        with pytest.raises(DeviceLost):
            run_task(active.message("0", 0), small_mill.place())


class TestOutages:
    @pytest.mark.parametrize(
        ("verb", "part"), [("put", "/images/"), ("put", "/results/"), ("get", "/plan/"), ("list", "/results/")]
    )
    def test_a_store_that_goes_away_in_mid_task_gives_it_back_without_a_loss(
        self, small_mill: SmallMill, memory_store: MemoryStore, verb: str, part: str
    ) -> None:
        active = open_job(small_mill, tasks_of(3))
        memory_store.fault = refuse(verb, part)
        assert run_task(active.message("0", 0), small_mill.place()) == "given_back"
        losses, errors = small_mill.ledger.notes(JOB)
        assert (losses, list(errors)) == ({}, ["0"])
        assert small_mill.ledger.flights(JOB) == []
        assert small_mill.ledger.take(JOB, 9) == [], "it is tried again only after a while"
        memory_store.fault = lambda verb, key: None
        assert run_task(active.message("0", 0), small_mill.place()) == "counted"
        assert outcomes(small_mill) == dict.fromkeys(range(3), "done")

    def test_a_task_given_back_is_not_leased_again_by_a_late_renewal(
        self, small_mill: SmallMill, memory_store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The renewing thread must have ended before: its next renewal would take the lease up for nobody."""
        active = open_job(small_mill, tasks_of(1))
        memory_store.fault = refuse("put", "/images/")
        original = small_mill.ledger.give_back
        alive: list[str] = []

        def give_back(*arguments: Any, **options: Any) -> bool:
            alive.extend(thread.name for thread in threading.enumerate() if thread.name.startswith("lease-"))
            return original(*arguments, **options)

        monkeypatch.setattr(small_mill.ledger, "give_back", give_back)
        run_task(active.message("0", 0), small_mill.place())
        assert alive == []

    def test_an_outage_while_an_input_is_read_is_not_the_rows_fault(
        self, small_mill: SmallMill, memory_store: MemoryStore
    ) -> None:
        file = io.BytesIO()
        Image.new("RGB", (16, 8)).save(file, "PNG")
        memory_store.objects["jobs/job/inputs/a.png"] = file.getvalue()
        image = InputImage(address="jobs/job/inputs/a.png")
        rows = [planned(index, pipeline="img2img", strength=1.0, image=image) for index in range(20)]
        active = open_job(small_mill, [rows])
        memory_store.fault = refuse("get", "/inputs/")
        assert run_task(active.message("0", 0), small_mill.place()) == "given_back"
        assert outcomes(small_mill) == {}
        memory_store.fault = lambda verb, key: None
        assert run_task(active.message("0", 0), small_mill.place()) == "counted"
        assert counts(small_mill) == (1, 20, 0, 20)

    def test_a_redis_that_is_away_at_the_end_costs_only_the_count(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        active = open_job(small_mill, tasks_of(2))
        monkeypatch.setattr("workers.runner.COUNT_PATIENCE_SECONDS", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(small_mill.ledger, "count", failing(LedgerUnavailable("away")))
            assert run_task(active.message("0", 0), small_mill.place()) == "counted"
        assert outcomes(small_mill) == {0: "done", 1: "done"}
        small_mill.redis.flushall()
        open_in_ledger(active, small_mill.ledger, hold_seconds=0)
        assert counts(small_mill) == (1, 2, 0, 2)

    def test_a_redis_that_comes_back_in_time_gets_its_count(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        active = open_job(small_mill, tasks_of(2))
        original, tries = small_mill.ledger.count, []

        def count(*arguments: Any) -> bool:
            tries.append(1)
            if len(tries) < 3:
                raise LedgerUnavailable("away")
            return original(*arguments)

        monkeypatch.setattr(small_mill.ledger, "count", count)
        monkeypatch.setattr("workers.runner.time.sleep", lambda seconds: None)
        run_task(active.message("0", 0), small_mill.place())
        assert counts(small_mill) == (1, 2, 0, 2)


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


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def refuse(verb: str, part: str) -> Callable[[str, str], StoreUnavailable | None]:
    return lambda asked, key: StoreUnavailable("away") if asked == verb and part in key else None
