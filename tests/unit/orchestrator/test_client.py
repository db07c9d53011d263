"""The Python API: the verbs of the command line on real services."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis
from ulid import ULID

import orchestrator
from orchestrator.client import Client
from orchestrator.status import JobStatus
from schemas import keys
from schemas.errors import JobConflict, JobNotFound, JobPaused, LedgerUnavailable, ManifestError
from schemas.job import ControlEvent
from services import jobs
from services.ledger import WorkerReport
from services.settings import RedisSettings, S3Settings, Settings
from tests.small_mill import SmallMill


@pytest.fixture
def client(
    redis: "Redis", redis_server: RedisSettings, store_settings: S3Settings, no_settings: Path
) -> Iterator[Client]:
    made = Client(Settings(redis=redis_server, s3=store_settings))
    yield made
    made.ledger._redis.close()


@pytest.fixture
def mill(client: Client, small_mill: SmallMill) -> SmallMill:
    """Dispatcher and workers over the client's store."""
    small_mill.store = client.store
    return small_mill


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.jsonl"
    rows = [{"prompt": "a cat", "id": "cat"}, {"prompt": "!raise"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


DEFAULTS: dict[str, Any] = {"model": "tiny", "steps": 1, "width": 16, "height": 16}


def test_it_is_what_the_package_offers() -> None:
    assert orchestrator.Client is Client


def test_a_job_from_its_manifest_to_its_images(client: Client, mill: SmallMill, manifest: Path, tmp_path: Path) -> None:
    report = client.validate(manifest, defaults=DEFAULTS)
    document = client.submit(manifest, job_id="parti", defaults=DEFAULTS, priority=7)
    assert document.totals.rows == report.totals.rows == 2
    assert client.status("parti").state == "waiting"
    mill.run(mill.dispatcher(), "parti")
    seen = []
    status = client.wait("parti", on_status=seen.append)
    assert (status.state, status.done, status.failed) == ("done", 1, 1)
    assert [found.state for found in seen] == ["done"]
    assert client.fetch("parti", tmp_path / "out").images == 1
    assert [found.job for found in client.jobs()] == ["parti"]
    again = client.retry("parti")
    assert again is not None
    assert again.totals.rows == 1
    mill.run(mill.dispatcher(), "parti")
    assert client.status("parti").failed == 1


def test_a_submitted_job_is_announced(client: Client, manifest: Path) -> None:
    client.submit(manifest, job_id="parti", defaults=DEFAULTS)
    assert client.ledger.announced() == {"parti"}


def test_a_faulty_manifest_is_told(client: Client, manifest: Path) -> None:
    with pytest.raises(ManifestError):
        client.submit(manifest, defaults=DEFAULTS | {"model": "nosuch"})
    with pytest.raises(ManifestError):
        client.validate(manifest)
    assert list(client.jobs()) == []


class TestControl:
    def test_pause_resume_and_priority_take_effect_at_once(
        self, client: Client, mill: SmallMill, manifest: Path
    ) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        mill.tick(mill.dispatcher())
        assert client.pause("parti", "lunch").state == "paused"
        assert (client.status("parti").state, client.status("parti").reason) == ("paused", "lunch")
        assert client.resume("parti").state == "running"
        assert client.prioritize("parti", 7).priority == 7
        assert (client.status("parti").state, client.status("parti").priority) == ("running", 7)

    def test_a_job_paused_by_a_clock_that_is_ahead_can_be_resumed(self, client: Client, manifest: Path) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        ahead = str(ULID.from_timestamp(time.time() + 3600))
        event = ControlEvent(verb="pause", automatic=True).model_dump_json().encode()
        client.store.put(keys.control("parti", ahead, "pause"), event)
        assert client.resume("parti").state == "running"

    def test_a_cancel_is_final(self, client: Client, mill: SmallMill, manifest: Path) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        assert client.cancel("parti").state == "cancelled"
        assert client.resume("parti").state == "cancelled"
        dispatcher = mill.dispatcher()
        mill.tick(dispatcher)
        mill.let_leases_end()  # of a worker that Redis may have forgotten
        mill.tick(dispatcher, 2)
        assert client.status("parti").cancelled == 2

    def test_there_is_nothing_to_steer_in_a_job_that_ended(
        self, client: Client, mill: SmallMill, manifest: Path
    ) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        mill.run(mill.dispatcher(), "parti")
        for verb in (client.pause, client.resume, client.cancel):
            with pytest.raises(JobConflict, match="has ended"):
                verb("parti")
        client.retry("parti")
        assert client.pause("parti").state == "paused", "a retry can be steered"

    def test_an_unknown_job_cannot_be_steered(self, client: Client) -> None:
        with pytest.raises(JobNotFound):
            client.pause("nobody")

    def test_a_job_can_be_steered_while_redis_is_away(self, client: Client, manifest: Path) -> None:
        document = client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        alone = Client(
            client.settings.model_copy(update={"redis": RedisSettings(url=SecretStr("redis://127.0.0.1:9/0"))})
        )
        assert alone.cancel("parti").state == "cancelled"
        assert jobs.read_control(client.store, document).state == "cancelled"
        with pytest.raises(LedgerUnavailable):
            alone.status("parti")


class TestWait:
    def test_it_looks_until_the_job_has_ended(
        self, client: Client, mill: SmallMill, manifest: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        dispatcher, seen = mill.dispatcher(), []
        monkeypatch.setattr("orchestrator.looking.time.sleep", lambda _: (mill.tick(dispatcher), mill.work()))
        client.wait("parti", on_status=lambda status: seen.append(status.state))
        assert seen[0] == "waiting"
        assert seen[-1] == "done"
        assert "running" in seen

    def test_an_outage_in_between_is_told_and_waited_out(
        self, client: Client, mill: SmallMill, manifest: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        dispatcher, told = mill.dispatcher(), []
        sound = client.status

        def status(job: str) -> JobStatus:
            found = sound(job)
            if found.state == "running" and len(told) < 3:
                raise LedgerUnavailable("away")
            return found

        monkeypatch.setattr(client, "status", status)
        monkeypatch.setattr("orchestrator.looking.time.sleep", lambda _: (mill.tick(dispatcher), mill.work()))
        assert client.wait("parti", on_outage=lambda error: told.append(error.message)).state == "done"
        assert told == ["away"] * len(told) != []

    def test_a_service_that_was_never_there_is_not_waited_for(self, client: Client, manifest: Path) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        away = RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))
        with pytest.raises(LedgerUnavailable):
            Client(Settings(redis=away, s3=client.settings.s3)).wait("parti")

    def test_a_job_that_paused_itself_ends_the_wait(self, client: Client, mill: SmallMill, manifest: Path) -> None:
        client.submit(manifest, job_id="parti", defaults=DEFAULTS)
        jobs.write_control(client.store, "parti", ControlEvent(verb="pause", reason="all fail", automatic=True))
        mill.tick(mill.dispatcher())
        with pytest.raises(JobPaused, match="all fail") as caught:
            client.wait("parti")
        assert "resume" in caught.value.hint


def test_workers_are_those_seen_lately(client: Client) -> None:
    client.ledger.report(WorkerReport(worker="w", host="h", pid=1, device="cpu"))
    assert [found.worker for found in client.workers()] == ["w"]
