"""The object store: reach, bucket, rights, and the five requests that everything stands on."""

import os
import time
from collections.abc import Iterator

from ulid import ULID

from orchestrator.checks.reach import why_unreachable
from schemas import keys
from schemas.errors import BucketMissing, ServiceError, StoreRefused, StoreUnavailable
from services.cli.findings import Finding, ok, problem, warning
from services.settings import Settings
from services.store import ObjectStore
from services.store_client import HURRIED

PROBE = b"A probe of `promptmill doctor`. It can be deleted.\n"
RANGE = (2, 5)
CLOCK_SECONDS = 60.0  # requests are refused from 15 minutes on
CREDENTIAL_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
SET_UP = (
    "nothing for `promptmill run`, which brings its own; else set PROMPTMILL_S3__ENDPOINT_URL (not for AWS), "
    "PROMPTMILL_S3__BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)


def check_store(settings: Settings) -> Iterator[Finding]:
    """The store's reach, its bucket, a probe of every kind of request, and its clock."""
    given = settings.s3.model_fields_set & {"endpoint_url", "bucket", "access_key_id"}
    if not given and not any(os.environ.get(name) for name in CREDENTIAL_NAMES):
        yield warning("object store", "not set up: no endpoint, bucket or access key is given", SET_UP)
        return
    reason = why_unreachable(settings.s3.endpoint_url or "")
    if reason is not None:
        yield problem("object store", reason, "start it, or set PROMPTMILL_S3__ENDPOINT_URL to where it is")
        return
    try:
        store = ObjectStore(settings.s3, HURRIED)
        store.check()
    except ServiceError as error:
        yield problem("object store", error.message, _todo(error, settings))
        return
    yield ok("object store", f"{store.place} can be listed")
    yield from _requests(store)
    yield from _clock(store)


def _todo(error: ServiceError, settings: Settings) -> str:
    if isinstance(error, BucketMissing):
        where = f" --endpoint-url {settings.s3.endpoint_url}" if settings.s3.endpoint_url else ""
        return f"create it (aws s3 mb s3://{settings.s3.bucket}{where}), or set PROMPTMILL_S3__BUCKET"
    if isinstance(error, StoreRefused):
        return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or s3.access_key_id), their rights and the clock"
    if isinstance(error, StoreUnavailable):
        return "is PROMPTMILL_S3__ENDPOINT_URL an S3 endpoint, with the right scheme (http or https)?"
    return error.hint


def _requests(store: ObjectStore) -> Iterator[Finding]:
    """Put, get, get a range of, list and delete one small object."""
    key, name = keys.probe(str(ULID())), "object store requests"
    started = time.monotonic()
    step = "put"
    try:
        store.put(key, PROBE, "text/plain")
        step = "get"
        fault = None if store.get(key) == PROBE else "an object came back with other bytes"
        step = "get a range of"
        offset, length = RANGE
        if store.get_range(key, offset, length) != PROBE[offset : offset + length]:
            fault = "ranged reads come back with other bytes"
        step = "list"
        if key not in {found.key for found in store.list(key)}:
            fault = "an object that was just written is not in the listing"
    except ServiceError as error:
        yield problem(name, f"cannot {step} an object: {error.message}", "give the access key the right to do so")
        return
    try:
        store.delete([key])
    except ServiceError as error:
        todo = "jobs run without it; give the access key the right to delete, or clear doctor/ yourself"
        yield warning(name, f"cannot delete an object: {error.message}", todo)
    milliseconds = (time.monotonic() - started) * 1000
    if fault is not None:
        yield problem(name, fault, "use a store (or a proxy before it) that answers as S3 does")
    else:
        yield ok(name, f"put, get, range, list and delete work: {milliseconds:.0f} ms together")


def _clock(store: ObjectStore) -> Iterator[Finding]:
    try:
        clock = store.clock()
    except ServiceError:
        return  # told above already
    if clock is None:
        return
    difference = time.time() - clock - 0.5  # it names whole seconds
    if abs(difference) > CLOCK_SECONDS:
        todo = "set both by NTP: the store refuses requests from 15 minutes on"
        yield warning("object store clock", f"differs from this machine's by {difference:+.0f} s", todo)
    else:
        yield ok("object store clock", f"within {max(1, abs(difference)):.0f} s of this machine's")
