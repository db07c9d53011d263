"""One way to connect to Redis, with limits on every wait."""

from typing import Any
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from schemas.errors import SettingsError
from services.settings import RedisSettings

SOCKET_SECONDS = 5.0  # without a limit a half-open link hangs for over a minute
RETRIES = 3


def connect(settings: RedisSettings) -> "Redis":
    """A client with bounded waits. It connects at its first command.

    Raises:
        SettingsError: the address is not one that redis-py understands.
    """
    try:
        return Redis.from_url(
            settings.url.get_secret_value(),
            **tls_options(settings),
            decode_responses=True,
            encoding_errors="replace",  # bytes that are no text are somebody's junk, and must end nobody
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            socket_keepalive=True,
            health_check_interval=15,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
    except ValueError:  # its text can hold a part of the address, and so of a password
        raise SettingsError(
            "redis.url cannot be used", hint="write it as redis://[:password@]host:port/0, or rediss://"
        ) from None


def tls_options(settings: RedisSettings) -> dict[str, Any]:
    """What redis-py and kombu are told about TLS; nothing where the address asks for none.

    Raises:
        SettingsError: a file that is not there, or files for an address without TLS.
    """
    files = {"ca_file": settings.ca_file, "cert_file": settings.cert_file, "key_file": settings.key_file}
    named = {name: path for name, path in files.items() if path is not None}
    if urlsplit(settings.url.get_secret_value()).scheme != "rediss":
        if named:
            raise SettingsError(
                f"redis.{next(iter(named))}: only with rediss://", hint="write redis.url as rediss://..."
            )
        return {}
    for name, path in named.items():
        if not path.is_file():
            raise SettingsError(f"redis.{name}: no such file: {path}")
    options = {
        "ssl_ca_certs": settings.ca_file,
        "ssl_certfile": settings.cert_file,
        "ssl_keyfile": settings.key_file,
    }
    given = {name: str(path) for name, path in options.items() if path is not None}
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True} | given


def place(settings: RedisSettings) -> str:
    """Host and port for messages; never the password."""
    address = urlsplit(settings.url.get_secret_value())
    return f"{address.hostname or address.path}:{address.port or 6379}"
