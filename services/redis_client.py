"""One way to connect to Redis, with limits on every wait."""

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
            decode_responses=True,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            socket_keepalive=True,
            health_check_interval=15,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
    except ValueError as error:
        raise SettingsError(
            f"redis.url cannot be used: {error}", hint="write it as redis://[:password@]host:port/0, or rediss://"
        ) from None


def place(settings: RedisSettings) -> str:
    """Host and port for messages; never the password."""
    address = urlsplit(settings.url.get_secret_value())
    return f"{address.hostname or address.path}:{address.port or 6379}"
