"""Redis over TLS: an authority of one's own, names that must match, certificates of clients."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from schemas.errors import LedgerUnavailable, SettingsError
from services.broker import Broker
from services.celery_app import make_app
from services.ledger import Ledger
from services.redis_client import connect, place
from services.settings import RedisSettings, Settings
from tests.https_server import certificates
from tests.tls_proxy import TlsProxy


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An authority, certificates of `localhost` and of another host; every one of them with its key."""
    folder = tmp_path_factory.mktemp("tls")
    (folder / "other").mkdir()
    ca_file, chain_file = certificates(folder, "localhost")
    _, other = certificates(folder / "other", "redis.example")
    return {"ca": ca_file, "chain": chain_file, "other_ca": folder / "other" / "ca.pem", "other_chain": other}


@pytest.fixture
def proxies(redis_server: RedisSettings) -> Iterator[list[TlsProxy]]:
    made: list[TlsProxy] = []
    yield made
    for proxy in made:
        proxy.close()


def through(
    proxies: list[TlsProxy], redis_server: RedisSettings, chain: Path, client_ca: Path | None = None, **changes: Path
) -> RedisSettings:
    url = urlsplit(redis_server.url.get_secret_value())
    assert url.port is not None
    proxies.append(TlsProxy(url.port, chain, client_ca))
    address = f"rediss://:{url.password}@localhost:{proxies[-1].port}/0"
    return RedisSettings.model_validate({"url": SecretStr(address), "key_prefix": "test"} | changes)


def ping(settings: RedisSettings) -> None:
    client = connect(settings)
    try:
        Ledger(client, prefix="x", place=place(settings)).ping()
    finally:
        client.close()


def test_ledger_and_broker_go_through_tls(
    redis_server: RedisSettings, proxies: list[TlsProxy], files: dict[str, Path]
) -> None:
    settings = through(proxies, redis_server, files["chain"], ca_file=files["ca"])
    ping(settings)
    before = proxies[0].connections
    broker = Broker(make_app(Settings(redis=settings)), connect(settings), place(settings))
    with broker._app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=0, timeout=5)
    broker.close()
    assert proxies[0].connections > before


def test_an_authority_that_is_not_known_is_told_with_the_setting(
    redis_server: RedisSettings, proxies: list[TlsProxy], files: dict[str, Path]
) -> None:
    for settings in (
        through(proxies, redis_server, files["chain"]),
        through(proxies, redis_server, files["chain"], ca_file=files["other_ca"]),
    ):
        with pytest.raises(LedgerUnavailable, match="TLS failed") as caught:
            ping(settings)
        assert "redis.ca_file" in caught.value.hint


def test_a_certificate_of_another_host_is_refused(
    redis_server: RedisSettings, proxies: list[TlsProxy], files: dict[str, Path]
) -> None:
    with pytest.raises(LedgerUnavailable, match=r"TLS failed: .*localhost"):
        ping(through(proxies, redis_server, files["other_chain"], ca_file=files["other_ca"]))


def test_a_server_that_asks_for_a_certificate_gets_it(
    redis_server: RedisSettings, proxies: list[TlsProxy], files: dict[str, Path]
) -> None:
    ping(
        through(
            proxies,
            redis_server,
            files["chain"],
            files["ca"],
            ca_file=files["ca"],
            cert_file=files["chain"],
            key_file=files["chain"],
        )
    )
    with pytest.raises(LedgerUnavailable):
        ping(through(proxies, redis_server, files["chain"], files["ca"], ca_file=files["ca"]))


def test_files_that_cannot_be_used_are_told_before_anything_connects(tmp_path: Path, files: dict[str, Path]) -> None:
    plain = RedisSettings(url=SecretStr("redis://localhost:1/0"), ca_file=files["ca"])
    with pytest.raises(SettingsError, match=r"redis\.ca_file: only with rediss://"):
        connect(plain)
    missing = RedisSettings(url=SecretStr("rediss://localhost:1/0"), ca_file=tmp_path / "no.pem")
    with pytest.raises(SettingsError, match=r"redis\.ca_file: no such file"):
        make_app(Settings(redis=missing))
