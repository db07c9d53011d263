"""The broker: what is published can be read back from the queue, and junk in it harms nobody."""

import base64
import json
from collections.abc import Iterator

import pytest
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from schemas.errors import LedgerUnavailable
from schemas.queues import RENDER_QUEUE, RENDER_TASK
from schemas.task import TaskMessage
from services.broker import Broker
from services.celery_app import make_app
from services.settings import RedisSettings, Settings

MESSAGE = TaskMessage(job="parti", task=7, part=0, offset=10, length=20)
LARGE = TaskMessage(
    job="x" * 64, task=2**31 - 1, row=9, attempt=2, round_id="0" * 26, part=99_999, offset=2**40, length=2**30
)


@pytest.fixture
def broker(redis: "Redis", redis_server: RedisSettings) -> Iterator[Broker]:
    made = Broker(make_app(Settings(redis=redis_server)), redis, "here")
    yield made
    made.close()


def test_what_is_published_waits_in_the_queue(broker: Broker) -> None:
    broker.publish([(MESSAGE, RENDER_QUEUE)])
    broker.publish([(LARGE, RENDER_QUEUE)])
    assert broker.depth(RENDER_QUEUE) == 2
    assert broker.waiting(RENDER_QUEUE) == {("parti", "7"), ("x" * 64, "2147483647.9")}


def test_a_worker_finds_exactly_the_message(broker: Broker, redis: "Redis") -> None:
    broker.publish([(LARGE, RENDER_QUEUE)])
    envelope = json.loads(redis.rpop(RENDER_QUEUE))
    arguments, fields, _ = json.loads(base64.b64decode(envelope["body"]))
    assert arguments == []
    assert TaskMessage.model_validate(fields) == LARGE
    assert envelope["headers"]["task"] == RENDER_TASK


def test_messages_leave_in_the_order_of_their_publishing(broker: Broker, redis: "Redis") -> None:
    for task in range(3):
        broker.publish([(MESSAGE.model_copy(update={"task": task}), RENDER_QUEUE)])
    ids = [json.loads(redis.rpop(RENDER_QUEUE))["headers"]["id"] for _ in range(3)]
    assert ids == ["parti/0/0", "parti/1/0", "parti/2/0"]


def test_an_empty_queue_holds_nothing(broker: Broker) -> None:
    assert (broker.waiting(RENDER_QUEUE), broker.depth(RENDER_QUEUE)) == (set(), 0)


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "not json",
        "[]",
        "{}",
        "7",
        "null",
        '{"headers": null}',
        '{"headers": {"id": null}}',
        '{"headers": {"id": 7}}',
        '{"headers": {"id": "ba5eba11"}}',
        "[" * 100_000,
    ],
)
def test_junk_hides_no_message(broker: Broker, redis: "Redis", junk: str) -> None:
    broker.publish([(MESSAGE, RENDER_QUEUE)])
    redis.lpush(RENDER_QUEUE, junk)
    assert broker.waiting(RENDER_QUEUE) == {("parti", "7")}


def test_a_redis_that_takes_nothing_is_told(broker: Broker, redis: "Redis") -> None:
    redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(LedgerUnavailable):
            broker.publish([(MESSAGE, RENDER_QUEUE)])
    finally:
        redis.config_set("maxmemory", "0")


@pytest.mark.parametrize("error", [OperationalError("refused"), RedisConnectionError("refused"), TimeoutError()])
def test_nobody_there_is_told(broker: Broker, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Kombu wraps what redis-py raised, or lets it through, by where the connection breaks."""

    def send_task(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(broker._app, "send_task", send_task)
    with pytest.raises(LedgerUnavailable, match="here"):
        broker.publish([(MESSAGE, RENDER_QUEUE)])


def test_many_messages_go_with_a_few_requests(broker: Broker, redis: "Redis") -> None:
    before = redis.info("commandstats")["cmdstat_lpush"]["calls"] if redis.llen(RENDER_QUEUE) else 0
    broker.publish((MESSAGE.model_copy(update={"task": task}), RENDER_QUEUE) for task in range(1200))
    assert broker.depth(RENDER_QUEUE) == 1200
    assert redis.info("commandstats")["cmdstat_lpush"]["calls"] - before >= 1200
