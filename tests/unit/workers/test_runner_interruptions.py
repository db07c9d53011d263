"""Whatever interrupts a task keeps what is finished and loses nothing."""

import io
import threading
from typing import Any

import pytest
from PIL import Image

from orchestrator.dispatch.rebuild import open_in_ledger
from schemas.errors import LedgerUnavailable
from schemas.planned import InputImage, PlannedRow
from tests.memory_store import MemoryStore
from tests.runner_steps import Watched, counts, open_job, outcomes, refuse
from tests.small_mill import JOB, SmallMill, failing, planned, tasks_of
from workers.engines.base import DeviceLost
from workers.engines.flat import FlatRoom
from workers.loop import Loop
from workers.runner import run_task


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
        assert small_mill.ledger.take({JOB: 9})[JOB] == [("0", 0)]
        room = Watched(small_mill)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "counted"
        assert room.images == {2: 1, 3: 1}
        assert counts(small_mill)[:3] == (1, 4, 0)

    def test_term_after_the_last_row_counts_the_task(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, tasks_of(1))
        original = FlatRoom.info

        class Room(FlatRoom):
            def info(self, row: Any) -> Any:
                small_mill.stopping.set()
                return original(self, row)

        assert run_task(active.message("0", 0), small_mill.place(Room(small_mill.settings))) == "counted"

    def test_a_cancel_stops_at_a_step_and_keeps_what_is_finished(self, small_mill: SmallMill) -> None:
        active = open_job(small_mill, [self.rows()])

        def cancel(step: int) -> None:
            if step == 3:
                small_mill.steer("cancel")
                active.refresh()
                small_mill.ledger.steer(JOB, active.control)
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
                active.refresh()
                small_mill.ledger.steer(JOB, active.control)
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


class TestUnforeseen:
    def test_an_info_that_cannot_be_had_fails_its_row_alone(self, small_mill: SmallMill) -> None:
        class Room(FlatRoom):
            def info(self, row: Any) -> Any:
                if row.index == 2:
                    raise ValueError("no info")
                return super().info(row)

        active = open_job(small_mill, [[planned(index, width=16 + 8 * index) for index in range(4)]])
        assert run_task(active.message("0", 0), small_mill.place(Room(small_mill.settings))) == "counted"
        assert outcomes(small_mill) == {0: "done", 1: "done", 2: "render_error", 3: "done"}

    def test_an_input_that_ends_its_reader_in_any_way_fails_its_row_alone(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from workers.inputs import load_inputs

        def load(source: Any, row: PlannedRow, limits: Any) -> Any:
            if row.index == 1:
                raise AssertionError("no palette")
            return load_inputs(source, row, limits)

        monkeypatch.setattr("workers.runner.load_inputs", load)
        active = open_job(small_mill, tasks_of(3))
        assert run_task(active.message("0", 0), small_mill.place()) == "counted"
        assert outcomes(small_mill) == {0: "done", 1: "invalid_input", 2: "done"}

    def test_what_nobody_foresaw_keeps_what_is_finished_and_is_a_loss_with_its_reason(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        active = open_job(small_mill, [[planned(index, width=16 + 8 * index) for index in range(4)]])
        room = Watched(small_mill)
        original = Loop.render

        def render(self: Loop, batch: Any, take: Any) -> None:
            if batch[0].row.index == 2:
                raise KeyError("a fault of ours")
            original(self, batch, take)

        monkeypatch.setattr(Loop, "render", render)
        assert run_task(active.message("0", 0), small_mill.place(room)) == "given_back"
        assert outcomes(small_mill) == {0: "done", 1: "done"}
        assert small_mill.ledger.notes(JOB) == ({"0": 1}, {"0": "KeyError: 'a fault of ours'"})
        assert small_mill.ledger.take({JOB: 9})[JOB] == [("0", 1)], "it is published again at once"


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
        assert small_mill.ledger.take({JOB: 9})[JOB] == [], "it is tried again only after a while"
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


def test_bytes_that_are_no_rows_are_given_back_and_never_raised(small_mill: SmallMill) -> None:
    garbage = open_job(small_mill, tasks_of(2)).message("0", 0).model_copy(update={"offset": 3})
    assert run_task(garbage, small_mill.place()) == "given_back"
    assert small_mill.ledger.flights(JOB) == []
    assert "no rows of a plan" in small_mill.ledger.notes(JOB)[1]["0"]
