"""What `logs` tells of a job and of a row: everything that is on record, in order, and what is not known any more."""

import pytest
from redis import Redis

from orchestrator.events import Event, History, token_time
from orchestrator.find_row import find_row
from orchestrator.job_history import job_history
from orchestrator.retry import retry
from orchestrator.row_history import row_history
from schemas import keys
from schemas.errors import JobNotFound, StoreUnavailable
from services import jobs
from services.ledger import Ledger
from services.losses import read_losses
from tests.small_mill import JOB, SmallMill, planned, tasks_of, with_failures, write_job


def job(mill: SmallMill) -> History:
    return job_history(mill.store, mill.ledger, JOB)


def row(mill: SmallMill, name: str) -> History:
    return row_history(mill.store, mill.ledger, JOB, name)


def kinds(history: History) -> list[str]:
    return [event.kind for event in history.events]


def only(history: History, kind: str) -> Event:
    (event,) = [event for event in history.events if event.kind == kind]
    return event


def lose(mill: SmallMill) -> None:
    """A worker takes the next task, and is gone."""
    dispatcher = mill.dispatcher()
    mill.until_published(dispatcher)
    message = mill.receive()
    assert message is not None
    mill.die(message)
    mill.tick(dispatcher)


class TestLosses:
    def test_a_loss_is_on_record_when_the_ledger_has_forgotten_it(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        lose(small_mill)
        small_mill.run(small_mill.dispatcher())
        assert small_mill.ledger.progress(JOB) is None
        (loss,) = read_losses(small_mill.store, JOB)
        assert (loss.member, loss.worker, loss.losses) == ("0", "dead", 1)
        lines = jobs.part_outcomes(small_mill.store, JOB, 0)
        assert [line.attempts for line in lines.values()] == [2, 2]

    def test_a_store_that_is_away_costs_the_record_and_no_more(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        small_mill.store.fault = (  # type: ignore[attr-defined]
            lambda verb, key: StoreUnavailable("away") if "/losses/" in key and verb == "put" else None
        )
        lose(small_mill)
        small_mill.run(small_mill.dispatcher())
        small_mill.assert_exact(done=2)
        assert list(read_losses(small_mill.store, JOB)) == []

    def test_what_is_not_a_loss_is_left_out(self, small_mill: SmallMill) -> None:
        small_mill.store.put(keys.losses(JOB, "0" * 26), b'{"v": 9}\nnot json\n')
        small_mill.store.put(f"{keys.losses_folder(JOB)}notes.txt", b"x")
        assert list(read_losses(small_mill.store, JOB)) == []


class TestJob:
    def test_from_submission_to_the_end(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 2))
        lose(small_mill)
        small_mill.steer("priority", priority=7)
        small_mill.run(small_mill.dispatcher())
        assert retry(small_mill.store, small_mill.ledger, JOB) is not None
        small_mill.run(small_mill.dispatcher())
        found = job(small_mill)
        assert kinds(found) == ["submitted", "handed_out", "lost", "control", "retry", "finalized"]
        assert only(found, "control").text == "priority 7"
        assert only(found, "lost").text == "task 0: dead was lost (loss 1)"
        assert only(found, "retry").text == "retry: 2 rows again in 1 tasks"
        assert only(found, "finalized").text == "finalized: done, 2 done, 2 failed"
        assert sum(share.done for share in found.workers) == 2
        assert sum(share.failed for share in found.workers) == 2
        assert found.now == ()

    def test_a_job_at_work_tells_where_its_tasks_stand(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        lose(small_mill)
        found = job(small_mill)
        assert found.now[0].startswith("0 of 2 tasks are counted")
        assert found.now[1] == "task 0: worker dead was lost (losses: 1)"

    def test_without_redis_the_rest_is_told(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1))
        away = Ledger(Redis(port=1, retry=None), prefix="x", place="nowhere")
        found = job_history(small_mill.store, away, JOB)
        assert kinds(found) == ["submitted"]
        assert "does not answer" in found.now[0]
        assert "does not answer" in row_history(small_mill.store, away, JOB, "row-0").now[0]

    def test_a_ledger_that_is_gone_is_said_to_be(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1))
        assert "not in the ledger" in job(small_mill).now[0]
        assert "does not know the job" in row(small_mill, "row-0").now[0]


class TestRow:
    def test_every_attempt_with_its_worker_and_its_end(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2))
        lose(small_mill)
        small_mill.run(small_mill.dispatcher())
        found = row(small_mill, "row-1")
        assert (found.row, found.index) == ("row-1", 1)
        assert kinds(found) == ["submitted", "handed_out", "lost", "handed_out", "failed"]
        told = only(found, "failed")
        assert told.text.startswith("failed, render_error: ")
        assert "(attempt 2, w-" in told.text
        assert told.error_class == "render_error"
        assert not told.counts  # there is no other
        assert only(row(small_mill, "row-0"), "done").text.endswith("s of denoising")

    def test_a_retry_follows_the_first_round_and_the_better_result_counts(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_job(small_mill.store, with_failures(2))
        small_mill.run(small_mill.dispatcher())
        assert retry(small_mill.store, small_mill.ledger, JOB) is not None
        monkeypatch.setattr("workers.engines.flat._after_the_first_step", lambda slots: None)
        small_mill.run(small_mill.dispatcher())
        found = row(small_mill, "row-1")
        assert kinds(found) == ["submitted", "handed_out", "failed", "handed_out", "done"]
        assert [event.task for event in found.events[1:]] == ["0", "0", "1", "1"]
        assert [event.counts for event in found.events] == [False, False, False, False, True]

    def test_of_two_that_are_done_the_frozen_one_counts(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1))
        small_mill.run(small_mill.dispatcher())
        line = next(iter(jobs.part_outcomes(small_mill.store, JOB, 0).values()))
        late = line.model_copy(update={"token": "ffffffffffff0000", "worker": "late"})
        jobs.write_piece(small_mill.store, keys.piece(JOB, 0, 0, late.token, 0), [late])
        counting = [event.worker for event in row(small_mill, "row-0").events if event.counts]
        assert counting == [line.worker]

    def test_images_without_a_result_tell_of_an_attempt_that_died(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1))
        token = f"{1_780_000_000_000:012x}abcd"
        small_mill.store.put(keys.image(JOB, 0, 0, 0, token, "png"), b"x")
        small_mill.run(small_mill.dispatcher())
        told = only(row(small_mill, "row-0"), "left")
        assert (told.at, told.token) == ("2026-05-28T20:26:40.000+00:00", token)
        assert "1 image of it came, and no result" in told.text

    def test_where_it_stands_at_this_moment(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1, 1, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        assert "waits in the queue since" in row(small_mill, "row-0").now[0]
        small_mill.ledger.lease(JOB, message.member, worker="busy", seconds=60)
        assert row(small_mill, "row-0").now[0].startswith("task 0 is with busy, leased until 2")
        assert row(small_mill, "row-3").now == ("its task has not been handed out yet",)
        lose(small_mill)
        assert "task 1: last error: worker dead was lost" in row(small_mill, "row-1").now

    def test_a_row_is_found_by_its_id_before_its_number(self, small_mill: SmallMill) -> None:
        rows = [planned(index, id=name) for index, name in enumerate(["2", "ü (n)", "000001"])]
        document = write_job(small_mill.store, [rows[:2], rows[2:]])
        store = small_mill.store
        assert find_row(store, document, "2")[0].row.index == 0
        assert find_row(store, document, "ü (n)")[0].member == "0"
        assert find_row(store, document, "000001")[0].alone == "1.0"
        assert find_row(store, document, "1")[0].row.index == 1
        assert find_row(store, document, "1")[0].alone == "0.1"
        for unknown in ("3", "ü", '"', "-1"):
            with pytest.raises(JobNotFound, match="no row"):
                find_row(store, document, unknown)


def test_a_token_tells_its_time_and_anything_else_none() -> None:
    assert token_time("019ab0000000abcd").startswith("2025-")
    assert token_time("zzz") == ""
