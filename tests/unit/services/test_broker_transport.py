"""The broker's transport at a full Redis: a pause, and an error that Celery takes for a broken connection."""

from typing import Any

import pytest
from kombu.transport import redis
from redis.exceptions import NoPermissionError, OutOfMemoryError, RedisError

from services import broker_transport
from services.broker_transport import FULL_SECONDS, SteadyChannel, SteadyTransport

FULL, FORBIDDEN = OutOfMemoryError("used memory > 'maxmemory'"), NoPermissionError("no permissions")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(broker_transport.time, "sleep", taken.append)
    return taken


def test_a_full_redis_counts_as_a_broken_connection_and_wrong_rights_do_not() -> None:
    assert issubclass(OutOfMemoryError, SteadyTransport.connection_errors)
    assert not issubclass(NoPermissionError, SteadyTransport.connection_errors)


@pytest.mark.parametrize(("error", "paused"), [(FULL, [FULL_SECONDS]), (FORBIDDEN, [])], ids=["full", "forbidden"])
def test_a_consumer_that_starts_pauses_only_at_a_full_redis_and_leaves_no_connection_open(
    error: RedisError, paused: list[float], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Any, connection: object, loop: object) -> None:
        raise error

    closed: list[object] = []
    monkeypatch.setattr(redis.Transport, "register_with_event_loop", refused)
    monkeypatch.setattr(redis.Transport, "close_connection", lambda self, connection: closed.append(connection))
    transport = SteadyTransport.__new__(SteadyTransport)
    with pytest.raises(type(error)):
        transport.register_with_event_loop("connection", "loop")
    assert (pauses, closed) == (paused, ["connection"] if paused else [])


@pytest.mark.parametrize(("error", "paused"), [(FULL, [FULL_SECONDS]), (FORBIDDEN, [])], ids=["full", "forbidden"])
def test_taking_a_message_pauses_only_at_a_full_redis(
    error: RedisError, paused: list[float], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Any, **options: object) -> None:
        raise error

    monkeypatch.setattr(redis.Channel, "_brpop_read", refused)
    with pytest.raises(type(error)):
        SteadyChannel.__new__(SteadyChannel)._brpop_read()
    assert pauses == paused
