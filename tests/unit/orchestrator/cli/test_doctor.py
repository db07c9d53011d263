"""`promptmill doctor` against nothing, against real services, and against services that are wrong."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from orchestrator.checks import redis as redis_checks
from orchestrator.checks import store as store_checks
from orchestrator.cli import doctor as doctor_module
from orchestrator.cli.doctor import doctor
from schemas import keys
from services.ledger import Ledger, WorkerReport
from services.settings import RedisSettings, S3Settings, Settings
from services.store import ObjectStore
from services.store_client import Patience

GENERAL = {"promptmill", "settings", "catalogue", "local services", "disk"}


@pytest.fixture(autouse=True)
def _this_side_alone(monkeypatch: pytest.MonkeyPatch, no_settings: Path) -> None:
    """Without the workers' checks: they import torch, and have tests of their own."""
    monkeypatch.setattr(doctor_module, "entry_points", lambda group: [])


def examine(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status, and the findings by check; of several with one name the worst."""
    result = CliRunner().invoke(doctor, ["--json", *arguments])
    findings: dict[str, dict[str, Any]] = {}
    for finding in json.loads(result.stdout)["findings"]:
        if findings.get(finding["check"], finding)["level"] in ("ok", finding["level"]):
            findings[finding["check"]] = finding
    return result.exit_code, findings


@pytest.fixture
def services(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisSettings, redis: "Redis", store_settings: S3Settings
) -> None:
    """The environment that leads to real services."""
    assert store_settings.secret_access_key is not None
    given = {
        "REDIS__URL": redis_server.url.get_secret_value(),
        "REDIS__KEY_PREFIX": redis_server.key_prefix,
        "S3__ENDPOINT_URL": store_settings.endpoint_url,
        "S3__BUCKET": store_settings.bucket,
        "S3__PREFIX": store_settings.prefix,
        "S3__ACCESS_KEY_ID": store_settings.access_key_id,
        "S3__SECRET_ACCESS_KEY": store_settings.secret_access_key.get_secret_value(),
    }
    for name, value in given.items():
        monkeypatch.setenv(f"PROMPTMILL_{name}", str(value))


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_any_service_it_says_what_is_missing_and_is_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_checks, "why_unreachable", lambda url: "nothing listens on 127.0.0.1:6379")
    status, findings = examine()
    assert status == 0
    assert findings.keys() == GENERAL | {"Redis", "object store"}
    for service in ("Redis", "object store"):
        assert findings[service]["level"] == "warning"
        assert "not set up" in findings[service]["message"]
        assert "promptmill run" in findings[service]["what_to_do"]


def test_with_services_that_are_as_they_should_be(services: None, ledger: Ledger, store: ObjectStore) -> None:
    ledger.lead("here-1", 10)
    ledger.report(WorkerReport(worker="gpu-7", host="here", pid=7, device="cuda"))
    status, findings = examine()
    assert status == 0
    assert {name for name, finding in findings.items() if finding["level"] != "ok"} == set()
    assert findings["orchestrator"]["message"] == "here-1 is at work"
    assert "gpu-7" in findings["workers"]["message"]
    assert findings["queue"]["message"] == "0 tasks waiting"
    assert "put, get, range, list and delete" in findings["object store requests"]["message"]
    assert list(store.list(keys.probe(""))) == []


def test_without_orchestrator_and_workers_it_says_how_to_start_them(services: None) -> None:
    status, findings = examine()
    assert status == 0
    assert findings["orchestrator"]["what_to_do"] == "start one: promptmill orchestrator"
    assert findings["workers"]["what_to_do"].endswith("promptmill worker")


def test_no_secret_is_printed(services: None, redis_server: RedisSettings) -> None:
    printed = CliRunner().invoke(doctor, []).output
    assert "a%20password" not in printed
    assert "secret" not in printed


@pytest.mark.parametrize(
    ("name", "value", "check", "message"),
    [
        ("REDIS__URL", "redis://:wrong@{redis}", "Redis", "wrong password"),
        ("S3__BUCKET", "no-such-bucket", "object store", "'no-such-bucket' does not exist"),
        ("S3__SECRET_ACCESS_KEY", "wrong", "object store", "refused"),
        ("S3__ENDPOINT_URL", "http://127.0.0.1:{unused}", "object store", "nothing listens on 127.0.0.1:"),
        ("REDIS__URL", "redis://127.0.0.1:{unused}/0", "Redis", "nothing listens on 127.0.0.1:"),
        ("S3__ENDPOINT_URL", "http://{redis}", "object store", "does not answer"),
    ],
)
def test_a_service_that_is_wrong_ends_it_with_4(
    services: None,
    monkeypatch: pytest.MonkeyPatch,
    redis_server: RedisSettings,
    name: str,
    value: str,
    check: str,
    message: str,
) -> None:
    address = redis_server.url.get_secret_value().split("@")[1].removesuffix("/0")
    monkeypatch.setenv(f"PROMPTMILL_{name}", value.format(redis=address, unused=unused_port()))
    if value == "http://{redis}":  # boto3 would try it for half a minute
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    status, findings = examine()
    assert status == 4
    assert findings[check]["level"] == "problem"
    assert message in findings[check]["message"]
    assert findings[check]["what_to_do"]


def test_a_store_that_is_silent_is_not_waited_for_as_by_who_uploads(
    monkeypatch: pytest.MonkeyPatch, no_settings: Path
) -> None:
    monkeypatch.setattr(store_checks, "HURRIED", Patience(tries=2, seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        s3 = S3Settings.model_validate({"endpoint_url": endpoint, "access_key_id": "a", "secret_access_key": "b"})
        (found,) = store_checks.check_store(Settings(s3=s3))
    assert (found.level, "does not answer" in found.message) == ("problem", True)


def test_a_name_that_is_no_setting_is_told_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_S3_BUCKET", "renders")
    _, findings = examine()
    assert findings["settings"]["level"] == "warning"
    assert findings["settings"]["what_to_do"] == "did you mean PROMPTMILL_S3__BUCKET?"


def test_a_broken_catalogue_is_told(no_settings: Path) -> None:
    (no_settings / "own.toml").write_text("[mine]\nfamily = 'sd1'\n")
    status, findings = examine("--models-file", "own.toml")
    assert status == 0
    assert findings["catalogue"]["level"] == "warning"
    assert "mine.source" in findings["catalogue"]["message"]


@pytest.mark.parametrize(
    ("info", "level", "part"),
    [
        ({}, "ok", "no limit"),
        ({"maxmemory": 100, "used_memory": 50, "maxmemory_policy": "noeviction"}, "ok", "50%"),
        ({"maxmemory": 100, "used_memory": 95, "maxmemory_policy": "noeviction"}, "warning", "95%"),
        ({"maxmemory": 100, "used_memory": 5, "maxmemory_policy": "allkeys-lru"}, "warning", "allkeys-lru"),
    ],
)
def test_the_memory_of_redis(info: dict[str, Any], level: str, part: str) -> None:
    (finding,) = redis_checks._memory(info)
    assert finding.level == level
    assert part in finding.message


@pytest.mark.parametrize(
    ("info", "level"),
    [
        ({"redis_version": "7.4.1", "role": "master"}, "ok"),
        ({"redis_version": "5.0.14"}, "warning"),
        ({"redis_version": "7.4.1", "role": "slave"}, "problem"),
        ({"redis_version": "7.4.1", "cluster_enabled": 1}, "problem"),
    ],
)
def test_what_kind_of_redis_it_is(info: dict[str, Any], level: str) -> None:
    class Answering:
        def info(self) -> dict[str, Any]:
            return info

    finding, _ = redis_checks._server(Answering(), "here:6379", has_password=True, is_local=True)  # type: ignore[arg-type]
    assert finding.level == level
