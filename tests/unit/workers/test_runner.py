"""One task from its lease to its last piece, with the flat engine: real Redis, pieces and messages."""

import logging
import threading
from typing import Any

import pytest

from orchestrator.dispatch.active_job import ActiveJob
from schemas.errors import LedgerUnavailable
from schemas.task import TaskMessage
from services import jobs
from services.ledger import CountDelta
from tests.memory_store import MemoryStore
from tests.runner_steps import Watched, commit, counts, open_job, outcomes
from tests.small_mill import JOB, SmallMill, failing, planned, tasks_of
from workers.commit import Committer
from workers.runner import run_task


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
        with caplog.at_level(logging.INFO, "workers.loop"):
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
            active.refresh()
            small_mill.ledger.steer(JOB, active.control)
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
