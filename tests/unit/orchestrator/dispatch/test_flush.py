"""`FLUSHALL` at every step: the ledger is made again, and the counts are exact."""

import pytest

from orchestrator.retry import retry
from services.settings import WorkerSettings
from tests.small_mill import JOB, SmallMill, tasks_of, with_failures, write_job


class TestFlush:
    """`FLUSHALL` at every step of a job: what the dispatcher and a worker had in hand goes on."""

    STEPS = 14

    @pytest.mark.parametrize("flush_at", range(STEPS))
    def test_the_counts_are_exact_whenever_redis_forgets(self, small_mill: SmallMill, flush_at: int) -> None:
        write_job(small_mill.store, with_failures(2, 1, 2))
        dispatcher, place = small_mill.dispatcher(), small_mill.place()
        for step in range(self.STEPS):
            if step == flush_at:
                small_mill.redis.flushall()
            small_mill.tick(dispatcher)
            if step % 3 == 2:
                small_mill.work(place)
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=2, failed=3)
        assert small_mill.rendered() == 2, "what has an outcome is not rendered again"

    @pytest.mark.parametrize("flush_at", range(0, 10, 2))
    def test_in_mid_retry_too(self, small_mill: SmallMill, flush_at: int) -> None:
        write_job(small_mill.store, with_failures(2, 3))
        dispatcher, place = small_mill.dispatcher(), small_mill.place()
        small_mill.run(dispatcher)
        assert retry(small_mill.store, small_mill.ledger, JOB) is not None
        for step in range(10):
            if step == flush_at:
                small_mill.redis.flushall()
            small_mill.tick(dispatcher)
            if (progress := small_mill.ledger.progress(JOB)) is not None:
                assert progress.done + progress.failed <= 5
            if step % 3 == 2:
                small_mill.work(place)
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3, failed=2)

    def test_a_worker_that_holds_a_lease_keeps_it(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(1, 1)
        write_job(small_mill.store, tasks)
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.redis.flushall()
        small_mill.tick(dispatcher)
        assert small_mill.ledger.renew(JOB, message.member, lease.token, worker="w", seconds=60)[0] == "renewed"
        small_mill.let_leases_end()
        small_mill.tick(dispatcher, 3)
        assert small_mill.members() == ["1"]

    def test_nothing_is_published_again_before_a_worker_could_take_its_lease_up(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        small_mill.settings = small_mill.settings.model_copy(update={"worker": WorkerSettings(lease_seconds=60)})
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        while (message := small_mill.receive()) is not None:
            small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.redis.flushall()
        small_mill.tick(dispatcher, 4)
        assert small_mill.ledger.progress(JOB) is not None, "made again from the store, before the first piece"
        assert small_mill.messages() == []
