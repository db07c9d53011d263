"""What happens to a task whose worker or message is gone."""

import pytest

from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.rebuild import open_in_ledger
from orchestrator.dispatch.recover import isolate, recover, requeue_vanished
from schemas.queues import RENDER_QUEUE
from services import jobs
from services.settings import DispatchSettings
from tests.small_mill import JOB, SmallMill, tasks_of, write_job

SETTINGS = DispatchSettings(losses_before_split=2, losses_before_poison=3)


@pytest.fixture
def active(small_mill: SmallMill) -> ActiveJob:
    write_job(small_mill.store, tasks_of(2, 1))
    found = ActiveJob.load(small_mill.store, JOB)
    open_in_ledger(found, small_mill.ledger, hold_seconds=0)
    return found


def publish(mill: SmallMill, active: ActiveJob, wanted: int = 9) -> list[str]:
    members = []
    for member, losses in mill.ledger.take({JOB: wanted})[JOB]:
        mill.broker.publish([(active.message(member, losses), RENDER_QUEUE)])
        members.append(member)
    return members


def lose(mill: SmallMill, active: ActiveJob, member: str) -> None:
    """A worker takes the member and is killed; the dispatcher notices."""
    assert mill.ledger.lease(JOB, member, worker="dead", seconds=-1).answer == "granted"
    (_,) = recover(active, mill.ledger.flights(JOB), mill.ledger.now() + 10_000, mill.ledger)


class TestRecover:
    def test_an_expired_lease_is_a_loss_and_its_task_is_published_again(
        self, small_mill: SmallMill, active: ActiveJob
    ) -> None:
        publish(small_mill, active)
        lose(small_mill, active, "1")
        assert small_mill.ledger.notes(JOB) == ({"1": 1}, {"1": "worker dead was lost"})
        assert publish(small_mill, active) == ["1"]
        assert small_mill.messages()[-1].attempt == 1

    def test_a_living_lease_is_left_alone(self, small_mill: SmallMill, active: ActiveJob) -> None:
        publish(small_mill, active)
        small_mill.ledger.lease(JOB, "0", worker="w", seconds=60)
        flights = small_mill.ledger.flights(JOB)
        assert recover(active, flights, small_mill.ledger.now(), small_mill.ledger) == []

    def test_two_dispatchers_that_saw_the_same_count_one_loss(self, small_mill: SmallMill, active: ActiveJob) -> None:
        small_mill.ledger.lease(JOB, "0", worker="dead", seconds=-1)
        flights, now = small_mill.ledger.flights(JOB), small_mill.ledger.now() + 10_000
        seen = [len(recover(active, flights, now, small_mill.ledger)) for _ in range(2)]
        assert seen == [1, 0]
        assert small_mill.ledger.notes(JOB)[0] == {"0": 1}

    def test_a_lease_renewed_since_it_was_seen_is_not_lost(self, small_mill: SmallMill, active: ActiveJob) -> None:
        lease = small_mill.ledger.lease(JOB, "0", worker="slow", seconds=-1)
        flights = small_mill.ledger.flights(JOB)
        small_mill.ledger.renew(JOB, "0", lease.token, worker="slow", seconds=60)
        now = small_mill.ledger.now() + 10_000
        assert recover(active, flights, now, small_mill.ledger) == []


class TestVanished:
    def vanished(self, mill: SmallMill, active: ActiveJob, after: int = 40_000) -> int:
        now = mill.ledger.now() + after
        return requeue_vanished(active, mill.ledger.flights(JOB), now, mill.ledger, mill.broker, 30)

    def test_a_message_that_is_gone_is_published_again_and_is_no_loss(
        self, small_mill: SmallMill, active: ActiveJob
    ) -> None:
        publish(small_mill, active)
        assert small_mill.receive() is not None
        assert self.vanished(small_mill, active) == 1
        assert publish(small_mill, active) == ["0"]
        assert small_mill.ledger.notes(JOB)[0] == {}

    def test_one_that_waits_in_the_queue_is_left_there_however_long(
        self, small_mill: SmallMill, active: ActiveJob
    ) -> None:
        publish(small_mill, active)
        assert self.vanished(small_mill, active, after=10**9) == 0

    def test_one_that_a_worker_took_is_left_to_its_lease(self, small_mill: SmallMill, active: ActiveJob) -> None:
        publish(small_mill, active)
        message = small_mill.receive()
        assert message is not None
        small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        assert self.vanished(small_mill, active) == 0

    def test_nothing_is_published_again_before_the_grace_is_over(
        self, small_mill: SmallMill, active: ActiveJob
    ) -> None:
        publish(small_mill, active)
        small_mill.receive()
        assert self.vanished(small_mill, active, after=20_000) == 0

    def test_the_message_of_another_job_is_not_ours(self, small_mill: SmallMill, active: ActiveJob) -> None:
        publish(small_mill, active)
        while message := small_mill.receive():
            small_mill.broker.publish([(message.model_copy(update={"job": "other"}), RENDER_QUEUE)])
            if message.task == 1:
                break
        assert self.vanished(small_mill, active) == 2


class TestIsolate:
    def test_a_task_lost_twice_goes_row_by_row(self, small_mill: SmallMill, active: ActiveJob) -> None:
        publish(small_mill, active)
        lose(small_mill, active, "0")
        assert not isolate(active, small_mill.ledger, SETTINGS)
        lose(small_mill, active, "0")
        assert isolate(active, small_mill.ledger, SETTINGS)
        assert publish(small_mill, active) == ["0.0", "0.1"]
        assert not isolate(active, small_mill.ledger, SETTINGS)

    def test_a_row_lost_three_times_alone_fails_as_poison_and_its_mate_does_not(
        self, small_mill: SmallMill, active: ActiveJob
    ) -> None:
        for _ in range(2):
            lose(small_mill, active, "0")
        isolate(active, small_mill.ledger, SETTINGS)
        for _ in range(3):
            assert not isolate(active, small_mill.ledger, SETTINGS)
            lose(small_mill, active, "0.1")
        assert isolate(active, small_mill.ledger, SETTINGS)
        (line,) = jobs.task_outcomes(small_mill.store, JOB, 0, 0).values()
        assert line.failure is not None
        assert (line.index, line.status, line.failure.error_class, line.failure.attempts) == (1, "failed", "poison", 3)
        assert "worker dead was lost" in line.failure.message
        progress = small_mill.progress()
        assert (progress.done, progress.failed, progress.counted) == (0, 1, 0)
        assert not isolate(active, small_mill.ledger, SETTINGS)
        assert publish(small_mill, active) == ["0.0", "1"]

    def test_a_task_of_one_row_is_isolated_as_well(self, small_mill: SmallMill, active: ActiveJob) -> None:
        for _ in range(2):
            lose(small_mill, active, "1")
        isolate(active, small_mill.ledger, SETTINGS)
        for _ in range(3):
            lose(small_mill, active, "1.0")
        isolate(active, small_mill.ledger, SETTINGS)
        assert small_mill.progress().counted == 1

    def test_two_dispatchers_write_one_poisoned_row_once(self, small_mill: SmallMill, active: ActiveJob) -> None:
        for _ in range(2):
            lose(small_mill, active, "1")
        isolate(active, small_mill.ledger, SETTINGS)
        for _ in range(3):
            lose(small_mill, active, "1.0")
        other = ActiveJob.load(small_mill.store, JOB)
        assert [isolate(found, small_mill.ledger, SETTINGS) for found in (active, other)] == [True, False]
        assert small_mill.progress().failed == 1

    @pytest.mark.parametrize("verb", ["pause", "cancel"])
    def test_no_row_is_failed_in_a_job_that_does_not_run(
        self, small_mill: SmallMill, active: ActiveJob, verb: str
    ) -> None:
        for _ in range(2):
            lose(small_mill, active, "1")
        isolate(active, small_mill.ledger, SETTINGS)
        for _ in range(3):
            lose(small_mill, active, "1.0")
        small_mill.steer(verb)  # type: ignore[arg-type]
        active.refresh()
        small_mill.ledger.steer(JOB, active.control)
        assert not isolate(active, small_mill.ledger, SETTINGS)
        assert jobs.task_outcomes(small_mill.store, JOB, 0, 1) == {}
