"""The dispatcher as a reconciler: killed, doubled or without its ledger, every row comes out once."""

import threading
import time
from collections import Counter
from typing import Any

import pytest

import orchestrator.dispatch.dispatcher
from orchestrator.dispatch.active_job import ActiveJob
from orchestrator.dispatch.dispatcher import Dispatcher
from orchestrator.retry import retry
from orchestrator.status import job_status
from schemas import keys
from schemas.errors import LedgerUnavailable, StoreUnavailable
from schemas.planned import PlannedRow
from schemas.result import ResultLine
from services import jobs
from services.ledger import CountDelta
from services.store import ObjectStore
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, Inline, Later, SmallMill, planned, tasks_of, write_job
from workers.runner import run_task


def with_failures(*sizes: int) -> list[list[PlannedRow]]:
    """Tasks whose last row fails."""
    return [[*rows[:-1], rows[-1].model_copy(update={"prompt": "!raise"})] for rows in tasks_of(*sizes)]


def until_published(mill: SmallMill, dispatcher: Dispatcher, looks: int = 5) -> None:
    for _ in range(looks):
        if mill.messages():
            return
        mill.tick(dispatcher)
    raise AssertionError("nothing was published")


def counts(mill: SmallMill) -> tuple[int, int, int]:
    progress = mill.progress()
    return progress.done, progress.failed, progress.counted


class TestAJob:
    def test_it_is_found_published_counted_and_finalized(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 3, 1))
        small_mill.run(small_mill.dispatcher())
        small_mill.assert_exact(done=3, failed=3)
        assert small_mill.rendered() == 3

    def test_a_real_store_gives_the_same(self, small_mill: SmallMill, store: ObjectStore) -> None:
        small_mill.store = store
        write_job(store, with_failures(2, 3, 1))
        small_mill.run(small_mill.dispatcher())
        small_mill.assert_exact(done=3, failed=3)

    def test_a_submission_that_is_not_finished_is_no_job_yet(self, small_mill: SmallMill) -> None:
        document = write_job(small_mill.store, tasks_of(1))
        small_mill.store.delete([keys.job_document(JOB)])
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 3)
        assert small_mill.ledger.progress(JOB) is None
        small_mill.store.put(keys.job_document(JOB), document.model_dump_json().encode())
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=1)

    def test_a_finalized_job_is_left_in_peace(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        small_mill.run(small_mill.dispatcher())
        before = {found.key: found.etag for found in small_mill.store.list("")}
        for dispatcher in (small_mill.dispatcher(), small_mill.dispatcher()):
            small_mill.ledger.announce(JOB)
            small_mill.tick(dispatcher, 3)
        assert small_mill.ledger.progress(JOB) is None
        assert {found.key: found.etag for found in small_mill.store.list("")} == before

    def test_an_announced_job_is_looked_at_before_the_next_scan(self, small_mill: SmallMill) -> None:
        dispatcher = small_mill.dispatcher(scan_seconds=3600)
        small_mill.tick(dispatcher)
        write_job(small_mill.store, tasks_of(1))
        small_mill.tick(dispatcher)
        assert small_mill.ledger.progress(JOB) is None
        small_mill.ledger.announce(JOB)
        small_mill.tick(dispatcher)
        assert small_mill.progress().tasks == 1

    def test_it_runs_by_itself_until_it_is_stopped(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(orchestrator.dispatch.dispatcher, "time", time)
        write_job(small_mill.store, tasks_of(2, 2))
        stop = threading.Event()
        thread = threading.Thread(target=small_mill.dispatcher(tick_seconds=0.01).run, args=(stop,))
        thread.start()
        deadline = time.monotonic() + 20
        while jobs.read_summary(small_mill.store, JOB) is None and time.monotonic() < deadline:
            if small_mill.work() is None:
                time.sleep(0.01)
        stop.set()
        thread.join()
        small_mill.assert_exact(done=4)
        assert small_mill.ledger.lead("another", 1), "the leader's lock is given up"


class TestRestart:
    def test_killed_after_every_look_it_loses_nothing(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 1, 3, 1))
        for _ in range(40):
            small_mill.tick(small_mill.dispatcher(), 2)
            small_mill.work()
            if jobs.read_summary(small_mill.store, JOB) is not None:
                break
        small_mill.assert_exact(done=3, failed=4)
        assert small_mill.rendered() == 3

    def test_killed_between_taking_and_publishing_it_publishes_after_the_grace(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher)
        with monkeypatch.context() as patch:
            patch.setattr(small_mill.broker, "publish", failing(LedgerUnavailable("away")))
            with pytest.raises(LedgerUnavailable):
                small_mill.tick(dispatcher)
        assert small_mill.progress().in_flight == 1
        assert small_mill.messages() == []
        small_mill.run(small_mill.dispatcher())
        small_mill.assert_exact(done=2)


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
        until_published(small_mill, dispatcher)
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.redis.flushall()
        small_mill.tick(dispatcher)
        assert small_mill.ledger.renew(JOB, message.member, lease.token, worker="w", seconds=60)[0] == "renewed"
        small_mill.tick(dispatcher, 3)
        assert small_mill.members() == ["1"]


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
        until_published(small_mill, one)
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


class TestLosses:
    def test_a_killed_worker_costs_a_loss_and_its_task_goes_on(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 1))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        message = small_mill.receive()
        assert message is not None
        small_mill.die(message)
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3)

    def test_a_row_that_kills_every_worker_fails_alone(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(3, 1)
        tasks[0][1] = tasks[0][1].model_copy(update={"prompt": "!exit"})
        write_job(small_mill.store, tasks)
        dispatcher, place = small_mill.dispatcher(), small_mill.place()
        deaths: Counter[str] = Counter()
        for _ in range(60):
            small_mill.tick(dispatcher)
            while message := small_mill.receive():
                if "!exit" in " ".join(row.prompt for row in jobs.read_rows(small_mill.store, message)):
                    small_mill.die(message)
                    deaths[message.member] += 1
                else:
                    run_task(message, place)
            if jobs.read_summary(small_mill.store, JOB) is not None:
                break
        assert deaths == {"0": 2, "0.1": 3}
        small_mill.assert_exact(done=3, failed=1)
        summary = jobs.read_summary(small_mill.store, JOB)
        assert summary is not None
        assert summary.failures == {"poison": 1}

    def test_a_message_that_nobody_got_comes_again(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        small_mill.receive()
        time.sleep(0.005)
        small_mill.tick(dispatcher, 2)
        assert small_mill.members() == ["0"]
        assert small_mill.ledger.notes(JOB)[0] == {}


def failing(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


class TestRetry:
    def test_the_failed_rows_are_rendered_again_and_the_counts_are_exact(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 3))
        dispatcher = small_mill.dispatcher()
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3, failed=2)
        found = retry(small_mill.store, small_mill.ledger, JOB)
        assert found is not None
        assert found.totals.rows == 2
        small_mill.tick(dispatcher, 2)
        assert counts(small_mill) == (3, 0, 2)
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3, failed=2)
        summary = jobs.read_summary(small_mill.store, JOB)
        assert summary is not None
        assert summary.rounds == (found.round_id,)

    def test_one_that_comes_while_the_job_is_finalized_is_not_passed_over(self, small_mill: SmallMill) -> None:
        """Its tasks were not done when finalize began, so finalize must not say that they were."""
        write_job(small_mill.store, with_failures(2, 1))
        dispatcher, background = small_mill.dispatcher(), Later()
        small_mill.tick(dispatcher, 2)
        while small_mill.progress().counted < 2:
            small_mill.work()
            small_mill.tick(dispatcher, background=background)
        small_mill.tick(dispatcher, background=background)
        assert background.waiting, "finalize is about to begin"
        found = retry(small_mill.store, small_mill.ledger, JOB)
        assert found is not None
        small_mill.tick(dispatcher, background=background)
        background.work()
        summary = jobs.read_summary(small_mill.store, JOB)
        assert summary is not None
        assert summary.rounds == ()
        assert job_status(small_mill.store, small_mill.ledger, JOB).state == "waiting"
        small_mill.tick(dispatcher, 3)
        assert small_mill.members() == ["2"], "its announcement was not forgotten meanwhile"
        small_mill.work()
        small_mill.tick(dispatcher, 3)
        small_mill.assert_exact(done=1, failed=2)
        assert jobs.read_summary(small_mill.store, JOB).rounds == (found.round_id,)  # type: ignore[union-attr]

    def test_one_whose_announcement_was_lost_is_found_in_the_end(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2))
        dispatcher = small_mill.dispatcher()
        small_mill.run(dispatcher)
        retry(small_mill.store, small_mill.ledger, JOB)
        small_mill.ledger.announced()
        for _ in range(65):  # ten minutes
            small_mill.tick(dispatcher)
            if small_mill.members():
                break
        assert small_mill.members() == ["1"]


class TestControl:
    def test_a_paused_job_publishes_nothing_until_it_is_resumed(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        small_mill.steer("pause")
        small_mill.tick(dispatcher)
        assert small_mill.work() == "refused"
        small_mill.tick(dispatcher, 3)
        assert small_mill.messages() == []
        time.sleep(0.002)  # a ULID's millisecond
        small_mill.steer("resume")
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=2)

    def test_a_cancelled_job_is_finalized_with_what_it_has(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, with_failures(2, 3, 1))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        small_mill.work()
        until_published(small_mill, dispatcher)
        small_mill.steer("cancel")
        small_mill.tick(dispatcher, 2)
        small_mill.assert_exact(done=1, failed=1, cancelled=4)
        assert small_mill.work() == "refused", "a message of it that is left in the queue harms nobody"
        small_mill.assert_exact(done=1, failed=1, cancelled=4)
        assert job_status(small_mill.store, small_mill.ledger, JOB).state == "cancelled"

    def test_it_waits_for_the_rows_that_a_worker_has_in_hand(self, small_mill: SmallMill) -> None:
        tasks = tasks_of(2, 1)
        write_job(small_mill.store, tasks)
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        small_mill.steer("cancel")
        small_mill.tick(dispatcher, 3)
        assert jobs.read_summary(small_mill.store, JOB) is None
        line = ResultLine(index=0, id="row-0", status="done", token=lease.token)
        jobs.write_piece(small_mill.store, keys.piece(JOB, 0, 0, lease.token, 0), [line])
        small_mill.ledger.give_back(JOB, message.member, lease.token)
        small_mill.tick(dispatcher, 2)
        small_mill.assert_exact(done=1, cancelled=2)

    def test_a_cancelled_job_does_not_wait_for_a_dead_worker(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        message = small_mill.receive()
        assert message is not None
        small_mill.die(message)
        small_mill.steer("cancel")
        time.sleep(0.002)
        small_mill.tick(dispatcher, 3)
        small_mill.assert_exact(done=0, cancelled=2)

    def test_it_stays_cancelled_when_redis_forgets(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        small_mill.steer("cancel")
        small_mill.redis.flushall()
        small_mill.tick(dispatcher, 4)
        small_mill.assert_exact(done=0, cancelled=2)
        assert small_mill.messages() == []


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


class TestFairness:
    def test_two_jobs_take_turns_by_their_weights(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(*[1] * 30), job="a", priority=100)
        write_job(small_mill.store, tasks_of(*[1] * 30), job="b", priority=200)
        small_mill.workers(12)
        small_mill.tick(small_mill.dispatcher(), 2)
        assert Counter(message.job for message in small_mill.messages()) == {"a": 4, "b": 8}

    def test_a_small_job_behind_a_large_one_comes_at_once(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(*[1] * 40), job="large")
        dispatcher = small_mill.dispatcher()
        for _ in range(10):
            small_mill.tick(dispatcher)
            small_mill.work()
        write_job(small_mill.store, tasks_of(1, 1), job="small")
        small_mill.ledger.announce("small")
        order = []
        for _ in range(8):
            small_mill.tick(dispatcher)
            order += [message.job for message in small_mill.messages()[:1]]
            small_mill.work()
        assert order.index("small") <= 2
        assert order.count("small") == 2

    def test_a_job_that_has_nothing_to_publish_leaves_the_queue_to_the_other(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1), job="a")
        write_job(small_mill.store, tasks_of(*[1] * 9), job="b")
        small_mill.workers(5)
        small_mill.tick(small_mill.dispatcher(), 2)
        assert Counter(message.job for message in small_mill.messages()) == {"a": 1, "b": 4}

    def test_no_more_wait_than_there_are_workers(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(*[1] * 9))
        small_mill.workers(3)
        small_mill.tick(small_mill.dispatcher(), 6)
        assert len(small_mill.messages()) == 3


class TestTrouble:
    def test_a_garbage_message_harms_nobody(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        until_published(small_mill, dispatcher)
        good = small_mill.messages()[0]
        for junk in ({"task": 999}, {"part": 999}, {"row": 5}, {"job": "nobody"}):
            small_mill.broker.publish(good.model_copy(update=junk), "txt2img", "tiny")
        small_mill.redis.lpush("promptmill.render", '{"headers": {"id": null}}')
        time.sleep(0.002)
        small_mill.tick(dispatcher)
        small_mill.redis.lpop("promptmill.render")  # Celery drops it
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=2)

    def test_what_is_wrong_with_one_job_stops_no_other(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1), job="a")
        write_job(small_mill.store, tasks_of(1, 1), job="b")
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        small_mill.store.put(keys.control("a", "7" * 26, "pause"), b"not ours")
        small_mill.run(dispatcher, "b")
        small_mill.assert_exact("b", done=2)
        small_mill.store.delete([keys.control("a", "7" * 26, "pause")])
        small_mill.run(dispatcher, "a")
        small_mill.assert_exact("a", done=2)

    def test_nor_does_a_fault_of_the_dispatchers_own(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for job in ("a", "b"):
            write_job(small_mill.store, tasks_of(1, 1), job=job)
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        original = ActiveJob.record

        def record(active: ActiveJob, task: int) -> Any:
            return original(active, task if active.job == "b" else task + 999)

        with monkeypatch.context() as patch:
            patch.setattr(ActiveJob, "record", record)
            small_mill.run(dispatcher, "b")
        small_mill.run(dispatcher, "a")
        for job in ("a", "b"):
            small_mill.assert_exact(job, done=2)

    def test_a_plan_that_somebody_deleted_stops_no_other_job(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2), job="a")
        write_job(small_mill.store, tasks_of(2), job="b")
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        while message := small_mill.receive():
            pass
        small_mill.ledger.split("a", 0, range(2))
        small_mill.store.delete([keys.plan_part("a", 0)])
        message = None
        for _ in range(6):
            small_mill.tick(dispatcher)
            time.sleep(0.002)
            if message := next((found for found in small_mill.messages() if found.job == "b"), None):
                break
        assert message is not None

    def test_a_ledger_that_counted_what_the_store_lacks_is_made_again(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.tick(dispatcher, 2)
        for member in ("0", "1"):
            small_mill.ledger.count(JOB, member, CountDelta(2, 0, 2, 1))
        small_mill.tick(dispatcher, 2)
        assert jobs.read_summary(small_mill.store, JOB) is None
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=3)

    def test_a_store_that_is_away_is_waited_for(self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
        write_job(small_mill.store, tasks_of(1))
        dispatcher = small_mill.dispatcher()
        with monkeypatch.context() as patch:
            patch.setattr(small_mill.store, "get", failing(StoreUnavailable("away")))
            small_mill.tick(dispatcher, 3)
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=1)

    def test_run_waits_for_services_that_are_away(self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(orchestrator.dispatch.dispatcher, "TROUBLE_SECONDS", 0.001)
        stop, looks = threading.Event(), []

        def lead(*_: object) -> bool:
            looks.append(1)
            if len(looks) == 3:
                stop.set()
            raise LedgerUnavailable("away")

        monkeypatch.setattr(small_mill.ledger, "lead", lead)
        monkeypatch.setattr(small_mill.ledger, "resign", failing(LedgerUnavailable("away")))
        small_mill.dispatcher().run(stop)
        assert len(looks) == 3


def test_the_rate_is_sampled_while_a_job_runs_and_nothing_is_left_of_it(small_mill: SmallMill) -> None:
    write_job(small_mill.store, tasks_of(2, 2))
    dispatcher = small_mill.dispatcher()
    small_mill.tick(dispatcher, 2)
    small_mill.work()
    time.sleep(0.01)
    small_mill.tick(dispatcher)
    assert small_mill.ledger.rate(JOB) > 0
    small_mill.run(dispatcher)
    small_mill.tick(dispatcher, 2)
    small_mill.assert_exact(done=4)
