"""The dispatcher as a reconciler: killed, doubled or without its ledger, every row comes out once."""

import threading
import time
from collections import Counter
from typing import Any

import pytest

import orchestrator.dispatch.dispatcher
from orchestrator.dispatch.active_job import ActiveJob
from schemas import keys
from schemas.errors import LedgerUnavailable, StoreUnavailable
from schemas.queues import RENDER_QUEUE
from services import jobs
from services.ledger import CountDelta
from services.store import ObjectStore
from tests.small_mill import JOB, Later, SmallMill, failing, tasks_of, with_failures, write_job
from workers.runner import run_task


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


class TestLosses:
    def test_a_killed_worker_costs_a_loss_and_its_task_goes_on(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
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
        small_mill.until_published(dispatcher)
        small_mill.receive()
        time.sleep(0.005)
        small_mill.tick(dispatcher, 2)
        assert small_mill.members() == ["0"]
        assert small_mill.ledger.notes(JOB)[0] == {}


class TestTrouble:
    def test_a_garbage_message_harms_nobody(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(1, 1))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        good = small_mill.messages()[0]
        for junk in ({"task": 999}, {"part": 999}, {"row": 5}, {"job": "nobody"}):
            small_mill.broker.publish([(good.model_copy(update=junk), RENDER_QUEUE)])
        small_mill.redis.lpush("promptmill.render", '{"headers": {"id": null}}')
        time.sleep(0.002)
        small_mill.tick(dispatcher)
        small_mill.redis.lpop("promptmill.render")  # Celery drops it
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=2)

    def test_a_message_that_names_the_rows_of_another_task_costs_only_time(self, small_mill: SmallMill) -> None:
        """Its task is counted with the wrong rows: the store knows better, and the ledger is made again from it."""
        tasks = tasks_of(2, 2, 1)
        write_job(small_mill.store, tasks)
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        other = ActiveJob.load(small_mill.store, JOB).message("1", 0)
        garbage = message.model_copy(update={"offset": other.offset, "length": other.length})
        assert run_task(garbage, small_mill.place()) == "counted"
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=5)

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

    def test_run_outlives_what_nobody_foresaw(self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(orchestrator.dispatch.dispatcher, "TROUBLE_SECONDS", 0.001)
        stop, looks = threading.Event(), []

        def lead(*_: object) -> bool:
            looks.append(1)
            if len(looks) == 3:
                stop.set()
            raise RuntimeError("dictionary changed size during iteration")

        monkeypatch.setattr(small_mill.ledger, "lead", lead)
        small_mill.dispatcher().run(stop)
        assert len(looks) == 3

    def test_jobs_that_are_found_while_it_looks_at_the_others_are_no_surprise(self, small_mill: SmallMill) -> None:
        dispatcher = small_mill.dispatcher()
        for name in ("a", "b"):
            write_job(small_mill.store, tasks_of(1), job=name)
        small_mill.tick(dispatcher)
        known = dispatcher._active["a"]

        class Background(dict[str, Any]):
            """Asked for a job, as the background finds one more."""

            def __contains__(self, job: object) -> bool:
                dispatcher._active.setdefault("c", known)
                return super().__contains__(job)

        dispatcher._background = Background()
        dispatcher._tend_all(False, Later())
        assert set(dispatcher._active) == {"a", "b", "c"}


class TestSearch:
    def test_a_store_that_is_silent_keeps_nobody_from_leading(self, small_mill: SmallMill) -> None:
        """Its list of jobs is waited for in the background, and one list at a time."""
        dispatcher, background = small_mill.dispatcher(), Later()
        small_mill.tick(dispatcher, 3, background=background)
        assert len(background.waiting) == 1
        assert small_mill.redis.get("test:leader") is not None

    def test_a_list_that_failed_is_told_and_made_again(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_job(small_mill.store, tasks_of(1))
        dispatcher = small_mill.dispatcher()
        with monkeypatch.context() as patch:
            patch.setattr(small_mill.store, "list_folders", failing(StoreUnavailable("the store is away")))
            small_mill.tick(dispatcher)
        assert caplog.messages == ["the store is away; looking for jobs again"]
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=1)

    def test_a_list_from_before_another_led_is_none(self, small_mill: SmallMill) -> None:
        dispatcher, background = small_mill.dispatcher(), Later()
        small_mill.tick(dispatcher, background=background)
        small_mill.clock.now += 60
        small_mill.tick(dispatcher, background=background)
        assert len(background.waiting) == 2


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


class TestDamagedPlans:
    def test_a_plan_that_cannot_be_read_pauses_its_job_until_it_is_mended(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 2))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        part = keys.plan_part(JOB, 0)
        text = small_mill.store.get(part)
        small_mill.store.delete([part])
        assert small_mill.work() == "given_back"
        small_mill.tick(dispatcher, 3)
        progress = small_mill.progress()
        assert (progress.state, progress.automatic) == ("paused", True)
        assert progress.reason.startswith("the plan cannot be read: no object 'jobs/job/plan/part-00000.jsonl'")
        small_mill.store.put(part, text)
        small_mill.steer("resume")
        small_mill.redis.zadd(f"test:job:{JOB}:again", {"0": 0})  # the delay is over
        small_mill.run(dispatcher)
        small_mill.assert_exact(done=4)

    def test_a_message_that_names_no_rows_of_the_plan_pauses_nothing(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 2))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        assert run_task(message.model_copy(update={"offset": 3, "length": 5}), small_mill.place()) == "given_back"
        small_mill.tick(dispatcher, 2)
        assert (small_mill.progress().state, small_mill.progress().suspect) == ("running", "")
