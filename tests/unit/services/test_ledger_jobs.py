"""What the ledger knows of whole jobs, of workers and of dispatchers; on a real Redis."""

import itertools
import json

import pytest
from redis import Redis

from schemas.job import ControlState
from services.ledger import CountDelta, Ledger, WorkerReport
from services.redis_client import connect
from services.settings import RedisSettings
from tests.ledger_steps import (
    JOB,
    LONG,
    TWO_DONE,
    everything,
    leased,
    lost,
    members,
    opened,
)


class TestGrow:
    def test_after_a_retry_the_counts_are_exact(self, ledger: Ledger) -> None:
        opened(ledger, tasks=2)
        ledger.count(JOB, "0", CountDelta(done=3, failed=2, images=3, units=1))
        ledger.count(JOB, "1", CountDelta(done=4, failed=1, images=4, units=1))
        assert ledger.grow(JOB, tasks=3, retried=3)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.failed, progress.tasks, progress.counted) == (7, 0, 3, 2)
        assert members(ledger) == ["2"]
        ledger.count(JOB, "2", CountDelta(done=2, failed=1, images=2, units=1))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.failed, progress.counted) == (9, 1, 3)

    def test_a_second_retry_takes_off_its_own_rows_alone(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1)
        ledger.count(JOB, "0", CountDelta(done=0, failed=5, images=0, units=1))
        ledger.grow(JOB, tasks=2, retried=5)
        ledger.count(JOB, "1", CountDelta(done=3, failed=2, images=3, units=1))
        ledger.grow(JOB, tasks=3, retried=5 + 2)
        ledger.count(JOB, "2", CountDelta(done=2, failed=0, images=2, units=1))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.done, progress.failed) == (5, 0)

    def test_growing_twice_by_the_same_retry_changes_nothing(self, ledger: Ledger) -> None:
        opened(ledger, tasks=1, counts=CountDelta(0, 5, 0, 0.0))
        assert ledger.grow(JOB, tasks=2, retried=5)
        assert not ledger.grow(JOB, tasks=2, retried=5)
        progress = ledger.progress(JOB)
        assert progress is not None
        assert progress.failed == 0


class TestSteer:
    def test_events_take_effect_in_their_order_and_never_backwards(self, ledger: Ledger) -> None:
        opened(ledger)
        assert ledger.steer(JOB, ControlState(state="paused", priority=5, reason="r", automatic=True, last="01B"))
        assert not ledger.steer(JOB, ControlState(state="running", last="01A"))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.state, progress.priority, progress.reason, progress.automatic) == ("paused", 5, "r", True)

    def test_a_resumed_job_gets_a_new_chance(self, ledger: Ledger) -> None:
        opened(ledger)
        ledger.count(JOB, "0", CountDelta(0, 30, 0, 1, 30, "a"))
        ledger.steer(JOB, ControlState(state="paused", last="01A"))
        ledger.steer(JOB, ControlState(state="running", last="01B"))
        progress = ledger.progress(JOB)
        assert progress is not None
        assert (progress.streak, progress.head_failures) == (0, 0)


class TestDrop:
    def test_nothing_of_a_dropped_job_is_left(self, ledger: Ledger, redis: "Redis") -> None:
        opened(ledger, tasks=4, counted=b"\x10")
        members(ledger, 1)
        leased(ledger, "1")
        ledger.split(JOB, 2, range(2))
        lost(ledger, "2.0")
        ledger.sample({JOB: 3})
        assert len(everything(redis)) == 10
        assert ledger.drop(JOB, tasks=4)
        assert everything(redis) == set()

    def test_a_job_that_grew_meanwhile_is_kept(self, ledger: Ledger) -> None:
        opened(ledger, tasks=4)
        ledger.grow(JOB, tasks=5, retried=1)
        assert not ledger.drop(JOB, tasks=4)
        assert ledger.progress(JOB) is not None

    def test_a_worker_that_still_renders_brings_nothing_back(self, ledger: Ledger, redis: "Redis") -> None:
        opened(ledger)
        token = leased(ledger)
        ledger.drop(JOB, tasks=3)
        assert ledger.renew(JOB, "0", token, worker="w", seconds=LONG)[0] == "missing"
        assert not ledger.give_back(JOB, "0", token)
        assert not ledger.count(JOB, "0", TWO_DONE)
        assert everything(redis) == set()


class TestRate:
    def test_images_per_second_over_the_samples(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        times = iter([10_000, 12_000, 14_000])
        monkeypatch.setattr(ledger, "now", lambda: next(times))
        for images in (100, 110, 120):
            ledger.sample({JOB: images})
        assert ledger.rate(JOB) == 5.0

    def test_only_the_last_samples_count(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        times = itertools.count(0, 1000)
        monkeypatch.setattr(ledger, "now", lambda: next(times))
        for images in [0] * 50 + list(range(0, 300, 10)):
            ledger.sample({JOB: images})
        assert ledger.rate(JOB) == 10.0

    def test_one_sample_or_a_step_back_is_no_rate(self, ledger: Ledger) -> None:
        ledger.sample({JOB: 100})
        assert ledger.rate(JOB) == 0.0
        ledger.sample({JOB: 10})
        assert ledger.rate(JOB) == 0.0

    def test_samples_of_a_job_that_nobody_tends_are_forgotten(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.sample({JOB: 100})
        assert 0 < redis.ttl(f"test:job:{JOB}:samples") <= 3600


class TestPresence:
    def test_a_worker_is_there_from_its_report_until_it_leaves(self, ledger: Ledger) -> None:
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        assert [(found.worker, found.pid) for found in ledger.workers()] == [("w-1", 7)]
        ledger.leave("w-1")
        assert ledger.workers() == []

    def test_a_silent_worker_is_forgotten(
        self, ledger: Ledger, redis: "Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.ledger.presence.SILENT_SECONDS", -1)
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        assert ledger.workers() == []
        assert redis.hgetall("test:workers") == {}

    def test_a_report_of_another_version_hides_nobody_else(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        redis.hset("test:workers", mapping={"w-2": '{"worker":"w-2","new":1}', "w-3": "junk"})
        assert [found.worker for found in ledger.workers()] == ["w-1"]

    @pytest.mark.parametrize("junk", ['{"seen": 1e999}', "[" * 100_000, '{"seen": [1]}', "7", '{"seen": "soon"}'])
    def test_junk_among_the_reports_is_forgotten(self, ledger: Ledger, redis: "Redis", junk: str) -> None:
        redis.hset("test:workers", "w-2", junk)
        assert ledger.workers() == []
        assert redis.hgetall("test:workers") == {}

    def test_bytes_that_are_no_text_end_nobody(self, redis_server: RedisSettings) -> None:
        redis = connect(redis_server)
        redis.flushall()
        redis.hset("test:workers", "w-1", b"\xff")
        redis.sadd("test:announced", b"\xff")
        ledger = Ledger(redis, prefix="test", place="redis")
        assert ledger.workers() == []
        assert len(ledger.announced()) == 1
        redis.close()


class TestModelsThatNobodyHas:
    @pytest.fixture
    def workers(self, ledger: Ledger, redis: "Redis") -> None:
        """Two of them, since long ago."""
        self.appear(ledger)
        redis.set("test:workers_since", 0)

    def appear(self, ledger: Ledger) -> None:
        for name in ("w-1", "w-2"):
            ledger.report(WorkerReport(worker=name, host="h", pid=7, device="cpu"))

    @pytest.mark.usefixtures("workers")
    def test_it_is_so_once_every_worker_said_so(self, ledger: Ledger) -> None:
        assert not ledger.nobody_has(JOB, "m", worker="w-1")
        assert not ledger.nobody_has(JOB, "m", worker="w-1")
        assert not ledger.nobody_has(JOB, "other", worker="w-2")
        assert ledger.nobody_has(JOB, "m", worker="w-2")

    @pytest.mark.usefixtures("workers")
    def test_a_worker_of_another_version_may_have_it(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.leave("w-2")
        redis.hset("test:workers", "w-2", json.dumps({"worker": "w-2", "new": 1, "seen": ledger.now()}))
        assert not ledger.nobody_has(JOB, "m", worker="w-1")
        redis.hset("test:workers", "w-2", json.dumps({"worker": "w-2", "new": 1, "seen": 0}))
        assert ledger.nobody_has(JOB, "m", worker="w-1"), "that one is gone"

    @pytest.mark.usefixtures("workers")
    def test_a_redis_that_was_emptied_does_not_know_yet(self, ledger: Ledger, redis: "Redis") -> None:
        redis.flushall()
        assert not ledger.nobody_has(JOB, "m", worker="w-1")
        ledger.report(WorkerReport(worker="w-1", host="h", pid=7, device="cpu"))
        assert not ledger.nobody_has(JOB, "m", worker="w-1"), "w-2 reports within seconds"


class TestLocks:
    def test_a_lock_is_its_owners_until_it_lets_go(self, ledger: Ledger, redis: "Redis") -> None:
        assert ledger.hold("lock", "a", 60)
        assert ledger.hold("lock", "a", 60)
        assert not ledger.hold("lock", "b", 60)
        ledger.let_go("lock", "b")
        assert not ledger.hold("lock", "b", 60)
        assert 0 < redis.pttl("test:lock") <= 60_000
        ledger.let_go("lock", "a")
        assert ledger.hold("lock", "b", 60)


class TestHints:
    def test_announced_jobs_are_taken_once(self, ledger: Ledger) -> None:
        ledger.announce("a")
        ledger.announce("b")
        ledger.announce("a")
        assert ledger.announced() == {"a", "b"}
        assert ledger.announced() == set()


class TestLeader:
    def test_one_leads_until_it_resigns(self, ledger: Ledger) -> None:
        assert ledger.lead("a", LONG)
        assert not ledger.lead("b", LONG)
        assert ledger.lead("a", LONG)
        ledger.resign("b")
        assert not ledger.lead("b", LONG)
        ledger.resign("a")
        assert ledger.lead("b", LONG)

    def test_a_silent_leader_is_followed(self, ledger: Ledger, redis: "Redis") -> None:
        ledger.lead("a", LONG)
        assert 0 < redis.pttl("test:leader") <= LONG * 1000
        redis.delete("test:leader")
        assert ledger.lead("b", LONG)
        assert not ledger.lead("a", LONG)


def test_two_prefixes_share_a_redis_and_nothing_else(redis: "Redis", redis_server: RedisSettings) -> None:
    one, two = (Ledger(redis, prefix=prefix, place="here") for prefix in ("one", "two"))
    opened(one)
    one.announce(JOB)
    assert two.progress(JOB) is None
    assert two.announced() == set()
    assert two.lead("b", LONG)
    assert one.lead("a", LONG)
