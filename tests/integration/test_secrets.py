"""Secrets in a whole job: nowhere in logs, results, messages, the ledger, process lists or what commands print.

The job runs over TLS by a Redis user with the least rights of docs/security.md, and with signed messages. Every secret
is one that stands nowhere else.
"""

import json
import re
import shlex
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
import pytest
from redis import Redis

from schemas.queues import RENDER_QUEUE
from schemas.task import TaskMessage
from services.broker import Broker
from services.celery_app import make_app
from services.embedded.processes import GuardedProcesses
from services.redis_client import connect, place
from services.settings import Settings, load_settings
from tests.https_server import certificates
from tests.integration.mill import Mill
from tests.tls_proxy import TlsProxy

pytestmark = pytest.mark.integration

PASSWORD, SIGNING_KEY, HF_TOKEN = "canary-of-redis-5f1b", "canary-of-signing-92ac", "hf_canaryOfTheHub7d3e"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def least_rights() -> list[str]:
    """The rules of the Redis user in docs/security.md."""
    found = re.search(r"^ACL SETUSER promptmill on >PASSWORD (.*)$", DOCUMENT, re.MULTILINE)
    assert found is not None
    return shlex.split(found[1])


@pytest.fixture
def secured(mill: Mill, guarded: GuardedProcesses, tmp_path: Path) -> Iterator[Mill]:
    """The mill through TLS, as a user of its own, with signed messages."""
    url = urlsplit(mill.settings.redis.url.get_secret_value())
    assert url.port is not None
    ca_file, chain_file = certificates(tmp_path, "localhost")
    proxy = TlsProxy(url.port, chain_file)
    admin = connect(mill.settings.redis)
    admin.execute_command("ACL", "SETUSER", "promptmill", "reset", "on", f">{PASSWORD}", *least_rights())
    redis = {"url": f"rediss://promptmill:{PASSWORD}@localhost:{proxy.port}/0", "ca_file": str(ca_file)}
    given = mill.settings.model_dump(exclude_unset=True, exclude={"redis"})
    settings = load_settings(**given, redis=redis | {"signing_key": SIGNING_KEY})
    made = Mill(settings, guarded, tmp_path)
    try:
        yield made
    finally:
        made.end_all()
        admin.execute_command("ACL", "DELUSER", "promptmill")
        admin.close()
        proxy.close()


def secrets_of(settings: Settings) -> list[str]:
    secret = settings.s3.secret_access_key
    assert secret is not None
    return [PASSWORD, SIGNING_KEY, HF_TOKEN, secret.get_secret_value()]


def assert_none_in(text: str, secrets: list[str], where: str) -> None:
    assert [secret for secret in secrets if secret in text] == [], where


def command_lines() -> str:
    """What `ps` shows of this process and everything that it started."""
    lines = []
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return "\n".join(lines)


def everything_in_redis(mill: Mill) -> str:
    redis = cast(Any, Redis.from_url(mill.settings.redis.url.get_secret_value()))  # bytes as they are
    readers = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"none": lambda key: None,  # gone since it was listed
    }
    texts = []
    for key in redis.scan_iter():
        value = readers[redis.type(key)](key)
        texts.append(f"{key!r} {value!r}")
        if key == RENDER_QUEUE.encode():
            texts += [repr(b64decode(json.loads(text)["body"])) for text in value]
    redis.close()
    return "\n".join(texts)


def test_no_secret_leaves_its_place(mill: Mill, secured: Mill, tmp_path: Path) -> None:
    secrets = secrets_of(secured.settings)
    secured.orchestrator()
    secured.worker(HF_TOKEN=HF_TOKEN, PROMPTMILL_FLAT_STEP_SECONDS="0.1", PROMPTMILL_LOG_LEVEL="DEBUG")
    rows = [{"prompt": "a"}, {"prompt": "!raise"}, {"prompt": "!crash"}, *({"prompt": f"p {n}"} for n in range(5))]
    secured.submit(rows, "canary")
    secured.wait_for_images("canary", 1)
    refuse_a_forged_message(secured)
    seen = command_lines()
    assert "redis-server" in seen
    assert "workers.process" in seen
    assert_none_in(seen, secrets, "process lists")
    assert_none_in(everything_in_redis(mill), secrets, "Redis, in mid-job")
    summary = secured.wait_for("canary")
    assert (summary.done, summary.failed) == (6, 2)
    secured.check_invariant("canary")
    assert_none_in(secured.logs(), secrets, "logs")
    assert_none_in(everything_in_redis(mill), secrets, "Redis, at the end")
    store = secured.client.store
    for found in store.list("jobs/"):
        assert_none_in(store.get(found.key).decode("latin-1"), secrets, found.key)


def refuse_a_forged_message(mill: Mill) -> None:
    """A message that nobody signed, in the queue beside the others."""
    redis = mill.settings.redis
    forger = Broker(make_app(mill.settings), connect(redis), place(redis))
    forger.publish([(TaskMessage(job="canary", task=0, part=0, offset=0, length=9), RENDER_QUEUE)])
    forger.close()
    mill.until(lambda: "not signed with redis.signing_key" in mill.logs(), what="the refusal of a forged message")
