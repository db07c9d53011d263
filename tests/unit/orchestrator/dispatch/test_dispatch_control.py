"""Paused, resumed, cancelled, or paused by itself: what the dispatcher does with a job."""

import pytest

from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.status import job_status
from schemas import keys
from schemas.planned import PlannedRow
from schemas.result import ResultLine
from services import jobs
from services.settings import WorkerSettings
from tests.small_mill import JOB, SmallMill, planned, tasks_of, with_failures, write_job


class TestControl:
    def test_a_paused_job_publishes_nothing_until_it_is_resumed(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        small_mill.steer("pause")
        small_mill.tick(dispatcher)
        assert small_mill.work() == "refused"
        small_mill.tick(dispatcher, 3)
        assert small_mill.messages() == []
        small_mill.steer("resume")
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=2)

    def test_a_cancelled_job_is_finalized_with_what_it_has(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 3, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        small_mill.work()
        small_mill.until_published(dispatcher)
        small_mill.steer("cancel")
        small_mill.let_leases_end()
        small_mill.tick(dispatcher, 2)
        small_mill.assert_exact(done=1, failed=1, cancelled=4)
        assert small_mill.work() == "refused", "a message of it that is left in the queue harms nobody"
        small_mill.assert_exact(done=1, failed=1, cancelled=4)
        assert job_status(small_mill.store, small_mill.ledger, JOB).state == "cancelled"

    def test_it_waits_for_the_rows_that_a_worker_has_in_hand(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(2, 1)
        write_job(small_mill.store, tasks)
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.steer("cancel")
        small_mill.tick(dispatcher, 3)
        assert jobs.read_summary(small_mill.store, JOB) is None
        line = ResultLine(index=0, id="row-0", status="done", token=lease.token)
        jobs.write_piece(small_mill.store, keys.piece(JOB, 0, 0, lease.token, 0), [line])
        small_mill.ledger.give_back(JOB, message.member, lease.token)
        small_mill.let_leases_end()
        small_mill.tick(dispatcher, 2)
        small_mill.assert_exact(done=1, cancelled=2)

    def test_a_cancelled_job_does_not_wait_for_a_dead_worker(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        small_mill.die(message)
        small_mill.steer("cancel")
        small_mill.let_leases_end()
        small_mill.tick(dispatcher, 3)
        small_mill.assert_exact(done=0, cancelled=2)

    @pytest.mark.parametrize("by", ["the orchestrator that knew it", "another orchestrator"])
    def test_so_it_does_where_redis_forgot_the_lease_before_the_first_piece_and_the_cancel_came_after(
        self, small_mill: SmallMill, by: str
    ) -> None:
        write_job(small_mill.store, tasks_of(2, 1))
        small_mill.settings = small_mill.settings.model_copy(update={"worker": WorkerSettings(lease_seconds=60)})
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.redis.flushall()
        if by == "another orchestrator":
            dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 3)
        assert small_mill.ledger.progress(JOB) is not None, "made again from the store"
        small_mill.steer("cancel")
        small_mill.tick(dispatcher, 4)
        assert jobs.read_summary(small_mill.store, JOB) is None

    def test_it_stays_cancelled_when_redis_forgets(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        small_mill.steer("cancel")
        small_mill.redis.flushall()
        small_mill.tick(dispatcher, 2)
        small_mill.let_leases_end()
        small_mill.tick(dispatcher, 3)
        small_mill.assert_exact(done=0, cancelled=2)
        assert small_mill.messages() == []

    def test_nor_does_it_end_while_a_worker_that_redis_forgot_may_still_commit(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.settings = small_mill.settings.model_copy(update={"worker": WorkerSettings(lease_seconds=60)})
        patient = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.steer("cancel")
        small_mill.redis.flushall()
        small_mill.tick(patient, 4)
        assert jobs.read_summary(small_mill.store, JOB) is None
        answer = small_mill.ledger.renew(JOB, message.member, lease.token, worker="w", seconds=60)
        assert answer == ("renewed", "cancelled")


class TestPausing:
    def fail_all(self, mill: SmallMill, dispatcher: Dispatcher, looks: int = 30) -> None:
        for _ in range(looks):
            mill.tick(dispatcher)
            mill.work()

    def bad(self) -> list[list[PlannedRow]]:
        return [[planned(10 * task + row, "!raise") for row in range(10)] for task in range(4)]

    def test_a_job_whose_rows_all_fail_is_paused_with_the_reason(self, small_mill: SmallMill) -> None:
        document = write_job(small_mill.store, self.bad())
        self.fail_all(small_mill, small_mill.dispatcher())
        progress = small_mill.progress()
        assert (progress.state, progress.automatic, progress.failed) == ("paused", True, 20)
        assert progress.reason == "the last 20 rows failed the same way (render_error)"
        control = jobs.read_control(small_mill.store, document)
        assert (control.state, control.automatic) == ("paused", True)
        assert len(list(small_mill.store.list(keys.control_folder(JOB)))) == 1, "it says so once"

    def test_it_stays_paused_when_redis_forgets(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, self.bad())
        dispatcher = small_mill.dispatcher()
        self.fail_all(small_mill, dispatcher)
        small_mill.redis.flushall()
        self.fail_all(small_mill, dispatcher, 4)
        progress = small_mill.progress()
        assert (progress.state, progress.failed) == ("paused", 20)

    def test_resumed_it_gets_a_new_chance(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, self.bad())
        dispatcher = small_mill.dispatcher()
        self.fail_all(small_mill, dispatcher)
        small_mill.steer("resume")
        small_mill.tick(dispatcher, 2)
        assert small_mill.progress().state == "running"
        small_mill.work()
        small_mill.tick(dispatcher)
        assert (small_mill.progress().state, small_mill.progress().failed) == ("running", 30)

    def test_keep_going_goes_on(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, self.bad(), keep_going=True)
        small_mill.run(small_mill.dispatcher())
        small_mill.assert_exact(done=0, failed=40)


class TestCostLimit:
    def test_a_job_that_exceeds_its_limit_is_paused_with_the_reason_and_goes_on_with_a_higher_one(
        self, small_mill: SmallMill
    ) -> None:
        tasks = tasks_of(1, 1, 1, 1)
        cost = tasks[0][0].units()
        document = write_job(small_mill.store, tasks, max_units=1.5 * cost)
        dispatcher = small_mill.dispatcher()
        for _ in range(6):
            small_mill.tick(dispatcher)
            small_mill.work()
        progress = small_mill.progress()
        assert (progress.state, progress.automatic, progress.done) == ("paused", True, 2)
        assert "its limit is" in progress.reason
        small_mill.steer("resume")
        small_mill.tick(dispatcher, 2)
        assert small_mill.progress().state == "paused", "the limit stands"
        small_mill.steer("resume", max_units=100.0)
        assert jobs.read_control(small_mill.store, document).max_units == 100
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=4)

    def test_a_job_that_ends_with_its_last_task_is_not_paused(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2), max_units=1e-9)
        small_mill.run(small_mill.dispatcher())
        small_mill.assert_exact(done=2)
