"""Every error of redis-py's is `LedgerUnavailable`, names the place and never the password."""

import inspect

import pytest
import redis.exceptions
from pydantic import SecretStr
from redis import Redis

from schemas.errors import LedgerUnavailable, ObjectMissing, SettingsError
from services.ledger import Ledger
from services.redis_client import connect, place
from services.redis_errors import mapped_errors
from services.settings import RedisSettings, load_settings

REDIS = [
    kind
    for _, kind in inspect.getmembers(redis.exceptions, inspect.isclass)
    if issubclass(kind, redis.exceptions.RedisError)
]


@pytest.mark.parametrize("kind", REDIS, ids=lambda kind: kind.__name__)
def test_every_error_of_redis_is_mapped(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    Exception.__init__(error, "text")
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:6379") as caught, mapped_errors("127.0.0.1:6379"):
        raise error
    assert caught.value.hint
    assert caught.value.exit_status == 4


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), BrokenPipeError()])
def test_a_broken_socket_is_no_answer(error: OSError) -> None:
    with pytest.raises(LedgerUnavailable, match="does not answer"), mapped_errors("here"):
        raise error


def test_what_is_not_redis_passes_as_it_is() -> None:
    with pytest.raises(ObjectMissing), mapped_errors("here"):
        raise ObjectMissing("ours")


def test_a_wrong_password_says_so_and_shows_none(redis_server: RedisSettings) -> None:
    url = redis_server.url.get_secret_value().replace("a%20password", "guess")
    settings = RedisSettings(url=SecretStr(url))
    client = connect(settings)
    with pytest.raises(LedgerUnavailable, match="wrong password") as caught:
        Ledger(client, prefix="x", place=place(settings)).ping()
    client.close()
    assert "guess" not in f"{caught.value.message}{caught.value.hint}{place(settings)}{settings!r}"


def test_nobody_there_is_told_with_host_and_port() -> None:
    settings = RedisSettings(url=SecretStr("redis://:secret@127.0.0.1:9/0"))
    client = connect(settings)
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:9 does not answer") as caught:
        Ledger(client, prefix="x", place=place(settings)).progress("job")
    client.close()
    assert "doctor" in caught.value.hint


def test_an_error_inside_redis_is_mapped_too(ledger: Ledger, redis: "Redis") -> None:
    redis.set("test:workers", "not a hash")
    with pytest.raises(LedgerUnavailable, match="ResponseError"):
        ledger.workers()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:secret@host:7000/0", "host:7000"),
        ("redis://host", "host:6379"),
        ("rediss://user:secret@host/1", "host:6379"),
    ],
)
def test_a_place_is_host_and_port(url: str, expected: str) -> None:
    assert place(RedisSettings(url=SecretStr(url))) == expected


@pytest.mark.parametrize(
    "url",
    ["http://host", "host:6379", "redis://", "unix:///run/redis.sock", "redis://host:x/0", "redis://:1can/ary@host/0",
     "redis://:can#ary@host/0", "redis://:can/ary@host:6379/0", "redis://user:7/canary@host:6379/0"],
)  # fmt: skip
def test_an_address_that_is_none_is_a_wrong_setting_and_nothing_of_it_is_told(url: str) -> None:
    with pytest.raises(SettingsError, match=r"redis\.url: .*expected redis://") as caught:
        load_settings(redis={"url": url})
    assert "can" not in caught.value.message.replace("can ", "")
