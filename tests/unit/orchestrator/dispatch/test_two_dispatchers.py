"""Two dispatchers at once, or one after the other: no member twice, no loss twice."""

from collections import Counter

import pytest

from orchestrator.retry import retry
from schemas import keys
from services import jobs
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, Inline, Later, SmallMill, tasks_of, with_failures, write_job


class TestTwoDispatchers:
    def test_no_member_waits_twice_and_nothing_is_rendered_twice(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 1, 3, 2, 1, 2))
        small_mill.workers(4)
        dispatchers, place = [small_mill.dispatcher() for _ in range(2)], small_mill.place()
        for look in range(60):
            small_mill.tick(dispatchers[look % 2], seconds=5)
            waiting = Counter(small_mill.members())
            assert not waiting or max(waiting.values()) == 1
            if look % 3 == 2:
                small_mill.work(place)
            if jobs.read_summary(small_mill.store, JOB) is not None:
                break
        small_mill.assert_exact(done=5, failed=6)
        assert small_mill.rendered() == 5

    def test_one_loss_is_counted_once(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        one, two = small_mill.dispatcher(), small_mill.dispatcher()
        small_mill.until_published(one)
        small_mill.tick(two, 2, seconds=5)
        message = small_mill.receive()
        assert message is not None
        small_mill.die(message)
        small_mill.tick(one, seconds=1)
        small_mill.tick(two, seconds=1)
        assert small_mill.ledger.notes(JOB)[0] == {"0": 1}
        assert small_mill.members() == ["0"]

    def test_the_one_that_does_not_lead_does_nothing(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        assert small_mill.ledger.lead("another", 60)
        assert small_mill.dispatcher().tick(Inline()) is False
        assert small_mill.ledger.progress(JOB) is None

    def test_one_that_leads_again_forgets_what_it_knew(self, small_mill: SmallMill) -> None:
        """Another led meanwhile: it took the hint of a retry, and ended before the retry did."""
        write_job(small_mill.store, with_failures(2))
        first, second = small_mill.dispatcher(), small_mill.dispatcher()
        small_mill.run(first)
        retry(small_mill.store, small_mill.ledger, JOB)
        small_mill.tick(second)
        small_mill.clock.now += 60
        small_mill.tick(first, 3)
        assert small_mill.members() == ["1"]

    def test_what_another_finalized_meanwhile_is_not_finalized_again(
        self, small_mill: SmallMill, memory_store: MemoryStore
    ) -> None:
        write_job(small_mill.store, tasks_of(2))
        first, second = small_mill.dispatcher(), small_mill.dispatcher()
        small_mill.tick(first, 2)
        small_mill.run(second)
        memory_store.asked.clear()
        small_mill.clock.now += 60
        small_mill.tick(first, 4)
        assert not [key for verb, key in memory_store.asked if verb == "put"]
        assert small_mill.ledger.progress(JOB) is None

    @pytest.mark.parametrize("last", [keys.metadata_table(JOB), keys.gallery(JOB, "index.html")])
    def test_one_that_stood_still_while_it_finalized_writes_over_nothing_of_its_successor(
        self, small_mill: SmallMill, memory_store: MemoryStore, last: str
    ) -> None:
        """It stands still before it looks who leads; a later summary stands there when it wakes up."""
        write_job(small_mill.store, tasks_of(2))
        dispatcher, background = small_mill.dispatcher(), Later()
        small_mill.tick(dispatcher, 2)
        while small_mill.progress().counted < 1:
            small_mill.work()
            small_mill.tick(dispatcher, background=background)

        def succeed(verb: str, key: str) -> None:
            """As if it stood still in this request: another leads, and has written a summary."""
            if (verb, key) == ("put", last) or (last == keys.metadata_table(JOB) and key == keys.plan_part(JOB, 0)):
                small_mill.redis.set("test:leader", "another")
                memory_store.objects[keys.summary(JOB)] = b"later"

        memory_store.fault = succeed
        background.work()
        assert memory_store.objects[keys.summary(JOB)] == b"later"
        assert (keys.metadata_table(JOB) in memory_store.objects) == (last != keys.metadata_table(JOB))

    def test_a_retry_that_the_other_one_found_is_known_to_both(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 2))
        one, two = small_mill.dispatcher(scan_seconds=3600), small_mill.dispatcher(scan_seconds=3600)
        small_mill.workers(2)
        small_mill.tick(one, 2, seconds=1)
        small_mill.tick(two, 2, seconds=1)
        while small_mill.work():
            pass
        assert small_mill.progress().counted == 2
        assert retry(small_mill.store, small_mill.ledger, JOB) is not None
        small_mill.tick(one, seconds=1)
        assert small_mill.members() == ["2"]
        small_mill.tick(two, seconds=1)
        assert jobs.read_summary(small_mill.store, JOB) is None, "it does not take the job for complete"
        small_mill.work()
        small_mill.tick(two, 2, seconds=1)
        small_mill.assert_exact(done=2, failed=2)
