"""What `gc` removes, and above all what it leaves alone."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from orchestrator.cli.main import main
from orchestrator.garbage import Garbage, GarbageRule, collect, collect_all
from orchestrator.retry import retry
from schemas import keys
from schemas.errors import JobNotFound, LedgerUnavailable, StoreUnavailable, UnreadableObject
from services import jobs
from services.ledger import Flight, Ledger
from services.settings import RedisSettings, S3Settings, Settings, as_environment
from services.store import ObjectStore, UnfinishedUpload
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, SmallMill, tasks_of, with_failures, write_job

DAY = 86_400.0
NO_GRACE = GarbageRule(0)
RULE = GarbageRule(DAY)


def images(mill: SmallMill) -> set[str]:
    return {info.key for info in mill.store.list(keys.images_folder(JOB))}


def gc(mill: SmallMill, rule: GarbageRule = RULE) -> Garbage:
    return collect(mill.store, mill.ledger, JOB, rule)


def tomorrow(mill: SmallMill) -> None:
    mill.store.now += DAY + 1  # type: ignore[attr-defined]


def finished(mill: SmallMill, tasks: list[Any]) -> set[str]:
    """Render a job to its end; the images that it named."""
    write_job(mill.store, tasks)
    mill.run(mill.dispatcher())
    return images(mill)


def orphan(mill: SmallMill, index: int = 0, token: str = "0123456789abzzzz", part: int = 0) -> str:
    """An image whose worker died before its piece."""
    key = keys.image(JOB, part, index, 0, token, "png")
    mill.store.put(key, b"orphan")
    return key


class TestOrphans:
    def test_an_image_that_no_result_names_goes_and_every_other_stays(self, small_mill: SmallMill) -> None:
        named = finished(small_mill, tasks_of(3, 2))
        left = orphan(small_mill)
        tomorrow(small_mill)
        found = gc(small_mill)
        assert (found.objects, found.bytes, found.sample, found.removed) == (1, 6, (left,), True)
        assert images(small_mill) == named
        small_mill.assert_exact(done=5)
        assert gc(small_mill).objects == 0

    def test_a_dry_run_tells_the_same_and_removes_nothing(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(2))
        left = orphan(small_mill)
        tomorrow(small_mill)
        found = gc(small_mill, GarbageRule(DAY, dry_run=True))
        assert (found.objects, found.sample, found.removed) == (1, (left,), False)
        assert left in images(small_mill)

    def test_what_is_younger_than_the_grace_time_stays(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        left = orphan(small_mill)
        small_mill.store.now += DAY - 1  # type: ignore[attr-defined]
        found = gc(small_mill)
        assert (found.objects, found.waiting) == (0, 1)
        assert left in images(small_mill)
        assert gc(small_mill, NO_GRACE).objects == 1

    def test_an_image_under_a_live_lease_stays_however_old(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        dispatcher = small_mill.dispatcher()
        small_mill.until_published(dispatcher)
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=60)
        mine, other = orphan(small_mill, token=lease.token), orphan(small_mill, index=1)
        tomorrow(small_mill)
        found = gc(small_mill, NO_GRACE)
        assert (found.sample, found.waiting) == ((other,), 1)
        assert images(small_mill) == {mine}

    def test_an_expired_lease_protects_nothing(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2))
        small_mill.until_published(small_mill.dispatcher())
        message = small_mill.receive()
        assert message is not None
        lease = small_mill.ledger.lease(JOB, message.member, worker="w", seconds=-1)
        orphan(small_mill, token=lease.token)
        assert gc(small_mill, NO_GRACE).objects == 1

    def test_the_images_of_a_line_that_lost_are_orphans(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        line = next(iter(jobs.part_outcomes(small_mill.store, JOB, 0).values()))
        key = orphan(small_mill, token="000000000000aaaa")
        lost = line.model_copy(
            update={"token": "000000000000aaaa", "images": (line.images[0].model_copy(update={"key": key}),)}
        )
        jobs.write_piece(small_mill.store, keys.piece(JOB, 0, 0, lost.token, 0), [lost])
        assert gc(small_mill, NO_GRACE).sample == (key,)
        small_mill.assert_exact(done=1)

    def test_what_metadata_names_stays_even_where_a_later_piece_would_win(self, small_mill: SmallMill) -> None:
        named = finished(small_mill, tasks_of(1))
        line = next(iter(jobs.part_outcomes(small_mill.store, JOB, 0).values()))
        late = "ffffffffffffzzzz"
        key = orphan(small_mill, token=late)
        better = line.model_copy(update={"token": late, "images": (line.images[0].model_copy(update={"key": key}),)})
        jobs.write_piece(small_mill.store, keys.piece(JOB, 0, 0, late, 0), [better])
        gc(small_mill, NO_GRACE)
        assert named <= images(small_mill)
        small_mill.assert_exact(done=1)

    def test_images_of_a_retry_stay(self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch) -> None:
        finished(small_mill, with_failures(2))
        assert retry(small_mill.store, small_mill.ledger, JOB) is not None
        monkeypatch.setattr("workers.engines.flat._after_the_first_step", lambda slots: None)
        small_mill.run(small_mill.dispatcher())
        named = images(small_mill)
        assert {keys.parse_image(key).part for key in named} == {0, 1}
        left = orphan(small_mill, part=1)
        assert gc(small_mill, NO_GRACE).sample == (left,)
        assert images(small_mill) == named

    def test_files_of_others_stay(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        strangers = {f"{keys.images_folder(JOB)}part-00000/notes.txt", f"{keys.images_folder(JOB)}mine/a.png"}
        for key in strangers:
            small_mill.store.put(key, b"x")
        assert gc(small_mill, NO_GRACE).objects == 0
        assert strangers <= images(small_mill)


class TestBesideWorkers:
    def test_between_image_and_piece_the_lease_protects_and_the_job_ends_whole(self, small_mill: SmallMill) -> None:
        write_job(small_mill.store, tasks_of(2, 1))
        found: list[Garbage] = []

        def collect_before_every_piece(verb: str, key: str) -> None:
            if verb == "put" and "/results/" in key:
                found.append(gc(small_mill, NO_GRACE))

        small_mill.store.fault = collect_before_every_piece  # type: ignore[attr-defined]
        small_mill.run(small_mill.dispatcher())
        assert [(one.objects, one.waiting) for one in found] == [(0, 2), (0, 1)]
        small_mill.assert_exact(done=3)

    def test_a_piece_that_comes_while_leases_are_read_is_seen(
        self, small_mill: SmallMill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_job(small_mill.store, tasks_of(2))
        small_mill.until_published(small_mill.dispatcher())
        at_piece, go_on = threading.Event(), threading.Event()

        def wait_before_the_piece(verb: str, key: str) -> None:
            if verb == "put" and "/results/" in key:
                at_piece.set()
                assert go_on.wait(10)

        small_mill.store.fault = wait_before_the_piece  # type: ignore[attr-defined]
        worker = threading.Thread(target=small_mill.work)
        worker.start()
        assert at_piece.wait(10)
        flights = small_mill.ledger.flights

        def once_the_worker_has_ended(job: str) -> list[Flight]:
            go_on.set()
            worker.join(10)
            return flights(job)

        monkeypatch.setattr(small_mill.ledger, "flights", once_the_worker_has_ended)
        found = gc(small_mill, NO_GRACE)
        assert (found.objects, found.waiting) == (0, 0)
        assert len(images(small_mill)) == 2

    def test_without_redis_nothing_is_removed(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        left = orphan(small_mill)
        away = Ledger(Redis(port=1, retry=None), prefix="x", place="nowhere")
        with pytest.raises(LedgerUnavailable):
            collect(small_mill.store, away, JOB, NO_GRACE)
        assert left in images(small_mill)

    def test_a_table_of_a_later_version_stops_it(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        left = orphan(small_mill)
        small_mill.store.put(keys.metadata_table(JOB), b"PAR9")
        with pytest.raises(UnreadableObject, match="nothing of job was removed"):
            gc(small_mill, NO_GRACE)
        assert left in images(small_mill)


class TestUploads:
    def test_old_unfinished_uploads_end_and_young_ones_go_on(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        store = small_mill.store
        assert isinstance(store, MemoryStore)
        old = UnfinishedUpload(keys.metadata_table(JOB), "1", store.now - DAY - 1)
        young = UnfinishedUpload(keys.metadata_table(JOB), "2", store.now - 60)
        other = UnfinishedUpload(keys.metadata_table("other"), "3", store.now - DAY - 1)
        store.uploads = [old, young, other]
        assert gc(small_mill, GarbageRule(DAY, dry_run=True)).uploads == 1
        assert store.uploads == [old, young, other]
        assert gc(small_mill).uploads == 1
        assert store.uploads == [young, other]

    def test_a_store_that_tells_none_is_no_failure(self, small_mill: SmallMill) -> None:
        finished(small_mill, tasks_of(1))
        left = orphan(small_mill)
        small_mill.store.fault = (  # type: ignore[attr-defined]
            lambda verb, key: StoreUnavailable("501") if verb == "unfinished_uploads" else None
        )
        found = gc(small_mill, NO_GRACE)
        assert "501" in found.note
        assert left not in images(small_mill)

    def test_a_real_store_forgets_an_upload_that_was_cut_off(self, store: ObjectStore) -> None:
        request = {"Bucket": store._bucket, "Key": f"{store._prefix}jobs/a/metadata.parquet"}
        store._client.create_multipart_upload(**request)
        (found,) = store.unfinished_uploads("jobs/a/")
        assert (found.key, abs(found.begun - time.time()) < 60) == ("jobs/a/metadata.parquet", True)
        store.abort_upload(found)
        assert list(store.unfinished_uploads("jobs/a/")) == []
        store.abort_upload(found)


class TestAbandoned:
    def claim(self, mill: SmallMill) -> None:
        mill.store.put(keys.submission("cut"), b"{}")
        mill.store.put(keys.plan_part("cut", 0), b"12345")

    def test_a_submission_that_was_given_up_is_told_and_removed_only_on_request(self, small_mill: SmallMill) -> None:
        self.claim(small_mill)
        tomorrow(small_mill)
        (found,) = collect_all(small_mill.store, small_mill.ledger, RULE)
        assert (found.job, found.abandoned, found.objects, found.bytes, found.removed) == ("cut", True, 2, 7, False)
        (found,) = collect_all(small_mill.store, small_mill.ledger, GarbageRule(DAY, remove_abandoned=True))
        assert found.removed
        assert small_mill.store.asked[-1] == ("delete", keys.submission("cut"))  # type: ignore[attr-defined]
        assert list(small_mill.store.list("jobs/")) == []

    def test_one_that_is_at_work_stays(self, small_mill: SmallMill) -> None:
        self.claim(small_mill)
        tomorrow(small_mill)
        small_mill.store.put(keys.plan_part("cut", 1), b"more")
        (found,) = collect_all(small_mill.store, small_mill.ledger, GarbageRule(DAY, remove_abandoned=True))
        assert (found.abandoned, found.waiting) == (False, 3)
        assert len(list(small_mill.store.list("jobs/"))) == 3

    def test_a_folder_without_a_claim_is_somebody_elses(self, small_mill: SmallMill) -> None:
        small_mill.store.put("jobs/holiday/photo.png", b"x")
        rule = GarbageRule(0, remove_abandoned=True)
        (found,) = collect_all(small_mill.store, small_mill.ledger, rule)
        assert (found.abandoned, found.objects) == (False, 0)
        with pytest.raises(JobNotFound):
            collect(small_mill.store, small_mill.ledger, "holiday", rule)
        assert len(list(small_mill.store.list("jobs/"))) == 1


class TestCommand:
    @pytest.fixture
    def environment(
        self,
        no_settings: Path,
        monkeypatch: pytest.MonkeyPatch,
        store: ObjectStore,
        store_settings: S3Settings,
        redis_server: RedisSettings,
    ) -> ObjectStore:
        settings = Settings(s3=store_settings, redis=redis_server)
        for name, value in as_environment(settings).items():
            monkeypatch.setenv(name, value)
        return store

    def test_it_tells_what_it_would_free_and_then_frees_it(
        self, environment: ObjectStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_job(environment, tasks_of(1))
        environment.put(keys.image(JOB, 0, 0, 0, "0123456789abzzzz", "png"), b"orphan")
        with pytest.raises(SystemExit):
            main(["gc", "--all", "--dry-run", "--grace", "0"])
        told = capsys.readouterr()
        assert "orphans" in told.out
        assert "1 object, 6 B: would be removed; nothing was" in told.err
        with pytest.raises(SystemExit):
            main(["gc", JOB, "--grace", "0s", "--json"])
        document = json.loads(capsys.readouterr().out)
        assert (document["dry_run"], document["grace_seconds"]) == (False, 0)
        assert [(one["job"], one["objects"], one["removed"]) for one in document["jobs"]] == [(JOB, 1, True)]
        assert list(environment.list(keys.images_folder(JOB))) == []

    def test_the_store_dates_what_is_new(self, environment: ObjectStore, capsys: pytest.CaptureFixture[str]) -> None:
        write_job(environment, tasks_of(1))
        environment.put(keys.image(JOB, 0, 0, 0, "0123456789abzzzz", "png"), b"orphan")
        with pytest.raises(SystemExit):
            main(["gc", JOB])
        assert "younger than 24h 00m" in capsys.readouterr().err
        assert len(list(environment.list(keys.images_folder(JOB)))) == 1

    @pytest.mark.parametrize("arguments", [[], [JOB, "--all"], [JOB, "--grace", "soon"]])
    def test_what_makes_no_sense_is_refused(self, arguments: list[str], no_settings: Path) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["gc", *arguments])
        assert ended.value.code == 2
