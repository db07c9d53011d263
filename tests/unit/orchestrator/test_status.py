"""Where a job stands, at every turn of its life."""

import pytest

from orchestrator.retry import retry
from orchestrator.status import JobStatus, all_status, job_status
from schemas import keys
from schemas.errors import JobNotFound
from services.ledger import Ledger
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, Later, SmallMill, planned, tasks_of, write_job


def status(mill: SmallMill) -> JobStatus:
    return job_status(mill.store, mill.ledger, JOB)


def running(mill: SmallMill, *sizes: int) -> None:
    """A job of so many tasks, known to the ledger."""
    write_job(mill.store, tasks_of(*sizes))
    mill.tick(mill.dispatcher())


class TestStates:
    def test_a_job_that_nobody_took_up_waits(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 1), priority=7)
        found = status(small_mill)
        assert (found.state, found.rows, found.images_planned, found.priority) == ("waiting", 3, 3, 7)
        assert found.reason
        assert not found.ended

    def test_it_runs_from_then_on(self, small_mill: SmallMill) -> None:
        running(small_mill, 2)
        assert status(small_mill).state == "running"

    @pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("cancel", "cancelling")])
    def test_it_tells_what_the_user_did(self, small_mill: SmallMill, verb: str, state: str) -> None:
        running(small_mill, 2)
        small_mill.ledger.lease(JOB, "0", worker="w", seconds=60)
        small_mill.steer(verb, reason="lunch")  # type: ignore[arg-type]
        small_mill.tick(small_mill.dispatcher())
        found = status(small_mill)
        assert (found.state, found.reason, found.ended) == (state, "lunch", False)

    def test_all_counted_and_not_yet_written_down_is_finalizing(self, small_mill: SmallMill) -> None:
        running(small_mill, 1)
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        small_mill.work()
        small_mill.tick(dispatcher, background=Later())
        assert status(small_mill).state == "finalizing"

    def test_a_finalized_job_is_what_its_summary_says(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, [[planned(0), planned(1, "!raise"), planned(2, num_images=3)]])
        small_mill.run(small_mill.dispatcher())
        found = status(small_mill)
        assert (found.state, found.ended, found.done, found.failed, found.images) == ("done", True, 2, 1, 4)
        assert found.failures == {"render_error": 1}
        assert found.finished_at

    def test_a_cancelled_one_tells_what_is_missing(self, small_mill: SmallMill) -> None:
        running(small_mill, 2, 1)
        small_mill.steer("cancel")
        small_mill.let_leases_end()
        small_mill.tick(small_mill.dispatcher(), 3)
        found = status(small_mill)
        assert (found.state, found.ended, found.done, found.cancelled) == ("cancelled", True, 0, 3)

    def test_a_job_that_is_retried_has_not_ended(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, [[planned(0, "!raise")]])
        dispatcher = small_mill.dispatcher()
        small_mill.run(dispatcher)
        retry(small_mill.store, small_mill.ledger, JOB)
        assert status(small_mill).state == "waiting"
        small_mill.tick(dispatcher, 2)
        found = status(small_mill)
        assert (found.state, found.done, found.failed) == ("running", 0, 0)

    def test_an_unknown_job_is_an_error(self, memory_store: MemoryStore, ledger: Ledger) -> None:
        with pytest.raises(JobNotFound):
            job_status(memory_store, ledger, JOB)


class TestCounts:
    def test_rows_in_a_workers_hands_count_as_they_finish(self, small_mill: SmallMill) -> None:
        running(small_mill, 4, 2)
        lease = small_mill.ledger.lease(JOB, "0", worker="w", seconds=60)
        small_mill.ledger.renew(JOB, "0", lease.token, worker="w", seconds=60, rows=3, images=3)
        found = status(small_mill)
        assert (found.done, found.images, found.in_flight, found.workers) == (3, 3, 1, 1)

    def test_what_only_waits_in_the_queue_is_in_nobodys_hands(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        small_mill.tick(small_mill.dispatcher(), 2)
        assert small_mill.members() == ["0"]
        assert status(small_mill).in_flight == 0

    def test_losses_are_told(self, small_mill: SmallMill) -> None:
        running(small_mill, 1)
        lease = small_mill.ledger.lease(JOB, "0", worker="w", seconds=-1)
        small_mill.ledger.lose(JOB, "0", lease.token, error="gone")
        assert status(small_mill).losses == 1

    def test_the_eta_is_what_is_left_over_the_rate(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        running(small_mill, 5, 5)
        monkeypatch.setattr(small_mill.ledger, "rate", lambda job: 2.0)
        lease = small_mill.ledger.lease(JOB, "0", worker="w", seconds=60)
        small_mill.ledger.renew(JOB, "0", lease.token, worker="w", seconds=60, rows=4, images=4)
        found = status(small_mill)
        assert (found.images_per_second, found.eta_seconds) == (2.0, 3.0)
        small_mill.steer("pause")
        small_mill.tick(small_mill.dispatcher())
        assert status(small_mill).eta_seconds is None, "a paused job never comes to its end"


def test_all_jobs_are_told_and_unfinished_submissions_are_none(small_mill: SmallMill) -> None:
    for job in ("b", "a"):
        write_job(small_mill.store, tasks_of(1), job=job)
    small_mill.store.put(keys.submission("c"), b"{}")
    found = all_status(small_mill.store, small_mill.ledger)
    assert [(one.job, one.state) for one in found] == [("a", "waiting"), ("b", "waiting")]
