"""The one way to connect to an object store, and how long one that is silent is waited for."""

import logging
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from services.settings import S3Settings

log = logging.getLogger(__name__)


class Patience(NamedTuple):
    """How long a store that is silent is waited for, a request.

    Attributes:
        tries: of a request.
        seconds: of silence in each.
    """

    tries: int
    seconds: float


PATIENT = Patience(9, 30)  # who moves images and plans; minutes of it cost less than to begin again
HURRIED = Patience(3, 10)  # who only looks
TOLD_AFTER = 1  # tries


def make_client(settings: S3Settings, patience: Patience, place: str) -> Any:
    """A client for one bucket's settings. A store that is silent is told of in the log, by its `place`.

    Raises:
        BotoCoreError: or ValueError; settings that it cannot use.
    """
    config: dict[str, Any] = {}
    if urlsplit(settings.endpoint_url or "").hostname in ("127.0.0.1", "localhost", "::1"):
        config["proxies"] = {}  # a proxy for the outside cannot reach this machine's own endpoint
    if settings.endpoint_url:
        # Without these, endpoints that are not AWS get SigV2 presigned addresses and fail ranged reads' checksums.
        config |= {
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
    secret = settings.secret_access_key.get_secret_value() if settings.secret_access_key else None
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": patience.tries},
            connect_timeout=5,
            read_timeout=patience.seconds,
            max_pool_connections=settings.connections,
            **config,
        ),
    )
    client.meta.events.register("needs-retry.s3", partial(_tell_of_silence, place))
    return client


def _tell_of_silence(place: str, attempts: int = 0, caught_exception: Exception | None = None, **_: object) -> None:
    """botocore asks after every try; who waits should know for what."""
    if caught_exception is not None and attempts == TOLD_AFTER:
        log.warning("the object store at %s does not answer; trying again", place)
