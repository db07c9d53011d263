"""Real services for unit tests: one redis-server and one S3 endpoint a test process, started when first asked for.

A missing binary skips on a laptop and fails where `CI=true`: there a skipped test would be a hole nobody sees.
"""

import os
from collections.abc import Iterator
from copy import copy
from itertools import count
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
from pydantic import SecretStr
from redis import Redis

import orchestrator.dispatch.dispatcher
from schemas.errors import SettingsError
from services.broker import Broker
from services.celery_app import make_app
from services.embedded.processes import GuardedProcesses
from services.embedded.redis import redis_answers, redis_process
from services.embedded.s3 import s3_answers, s3_process, s3_settings
from services.embedded.startup import start_on_free_port
from services.ledger import Ledger
from services.redis_client import connect, place
from services.settings import RedisSettings, S3Settings, Settings, WorkerSettings
from services.store import ObjectStore
from tests.memory_store import MemoryStore
from tests.missing import missing
from tests.small_mill import Clock, SmallMill

# The same examples every time, and none too slow for a busy machine; `--hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile("promptmill", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("promptmill")

PASSWORD = "a password"
KEY_PREFIX = "test"
_prefixes = count()


@pytest.fixture(scope="session")
def service_processes() -> Iterator[GuardedProcesses]:
    """What the services run under: they end with this process, whatever ends it."""
    with GuardedProcesses() as processes:
        yield processes


@pytest.fixture(scope="session")
def redis_server(service_processes: GuardedProcesses, tmp_path_factory: pytest.TempPathFactory) -> RedisSettings:
    """A real redis-server of this test session's own, with a password."""
    folder = tmp_path_factory.mktemp("redis")
    try:
        port = start_on_free_port(
            service_processes,
            lambda port: redis_process(folder, port, PASSWORD),
            lambda port: redis_answers(port, PASSWORD),
        )
    except SettingsError as error:
        _no_service(error)
    url = f"redis://:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/0"
    return RedisSettings(url=SecretStr(url), key_prefix=KEY_PREFIX)


@pytest.fixture(scope="session")
def s3_server(service_processes: GuardedProcesses, tmp_path_factory: pytest.TempPathFactory) -> S3Settings:
    """A real S3 endpoint of this test session's own, with a bucket."""
    folder, keys = tmp_path_factory.mktemp("s3"), ("key", "secret")
    try:
        port = start_on_free_port(
            service_processes,
            lambda port: s3_process(folder, port, *keys, "bucket"),
            lambda port: s3_answers(port, s3_settings(port, *keys, "bucket")),
        )
    except SettingsError as error:
        _no_service(error)
    return s3_settings(port, *keys, "bucket")


@pytest.fixture
def redis(redis_server: RedisSettings) -> Iterator["Redis"]:
    """An empty Redis."""
    client = connect(redis_server)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def ledger(redis: "Redis", redis_server: RedisSettings) -> Ledger:
    """A ledger over an empty Redis."""
    return Ledger(redis, prefix=redis_server.key_prefix, place=place(redis_server))


@pytest.fixture(scope="session")
def _shared_store(s3_server: S3Settings) -> ObjectStore:
    return ObjectStore(s3_server)


@pytest.fixture
def store_settings(s3_server: S3Settings) -> S3Settings:
    """The S3 endpoint with a prefix that no other test has."""
    return s3_server.model_copy(update={"prefix": f"test-{next(_prefixes)}"})


@pytest.fixture
def store(_shared_store: ObjectStore, store_settings: S3Settings) -> ObjectStore:
    """An empty object store. Its client, which takes a while to make, is the session's."""
    return _below(_shared_store, store_settings)


def _below(shared: ObjectStore, settings: S3Settings) -> ObjectStore:
    made = copy(shared)
    made._prefix = f"{settings.prefix}/"
    return made


@pytest.fixture
def memory_store() -> MemoryStore:
    """An empty object store in memory, with faults on request."""
    return MemoryStore()


@pytest.fixture
def small_mill(
    memory_store: MemoryStore,
    redis: "Redis",
    ledger: Ledger,
    redis_server: RedisSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[SmallMill]:
    """A promptmill that a test moves by hand, over a store in memory."""
    # A rebuilt job is held for a fifth of a lease.
    settings = Settings(redis=redis_server, worker=WorkerSettings(lease_seconds=0.05))
    clock = Clock()
    monkeypatch.setattr(orchestrator.dispatch.dispatcher, "time", clock)
    broker = Broker(make_app(settings), redis, "here")
    yield SmallMill(memory_store, redis, ledger, broker, clock, settings)
    broker.close()


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to work in and an environment without anybody's settings."""
    for name in list(os.environ):
        if name.startswith(("PROMPTMILL_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _no_service(error: SettingsError) -> NoReturn:
    missing(f"{error.message}: {error.hint}")
