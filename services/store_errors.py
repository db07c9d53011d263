"""Foreign errors of the object store, mapped to ours in this one place."""

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    InvalidRegionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
from urllib3.exceptions import HTTPError

from schemas.errors import BucketMissing, ObjectMissing, ServiceError, StoreRefused, StoreUnavailable

_DENIED = {
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "401",
    "403",
}
# Refusals that another try may not meet: S3's error codes and HTTP states for a slow, busy or cut connection.
_PASSING = {"BadDigest", "IncompleteBody", "OperationAborted", "RequestTimeout", "RequestTimeoutException", "SlowDown"}
_PASSING_STATES = {408, 409, 425, 429}
_SETTINGS = (
    ConfigNotFound,
    ConfigParseError,
    InvalidConfigError,
    InvalidRegionError,
    ParamValidationError,
    ProfileNotFound,
)
_CHECK = "run `promptmill doctor`"


@contextmanager
def mapped_errors(bucket: str, endpoint: str, key: str = "") -> Iterator[None]:
    """Turn botocore's errors into `ServiceError`s that name the place and the next step.

    Raises:
        StoreUnavailable: no answer, or server errors that outlasted the retries.
        StoreRefused: wrong or missing credentials, not allowed, or a request that the store will never take.
        BucketMissing: the bucket does not exist.
        ObjectMissing: the object does not exist.
    """
    try:
        yield
    except ClientError as error:
        raise _from_client_error(error, bucket, endpoint, key) from None
    except S3UploadFailedError as error:  # what boto3 makes of a ClientError while it sends a file
        cause = error.__context__
        if isinstance(cause, ClientError):
            raise _from_client_error(cause, bucket, endpoint, key) from None
        raise StoreUnavailable(f"{key or bucket} could not be sent to {endpoint}: {error}", hint=_CHECK) from error
    except (NoCredentialsError, PartialCredentialsError):
        raise StoreRefused(
            f"no credentials for the object store at {endpoint}",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the same under [s3] in promptmill.toml",
        ) from None
    except _SETTINGS as error:
        raise StoreRefused(f"the object store at {endpoint} cannot be asked so: {error}", hint=_CHECK) from error
    except (BotoCoreError, HTTPError) as error:
        raise StoreUnavailable(
            f"the object store at {endpoint} does not answer ({type(error).__name__})",
            hint=f"is it running, and is PROMPTMILL_S3__ENDPOINT_URL right? {_CHECK}",
        ) from error
    except ValueError as error:  # botocore refuses a malformed endpoint so
        raise StoreRefused(f"the object store's address {endpoint!r} cannot be used: {error}", hint=_CHECK) from error


def _from_client_error(error: ClientError, bucket: str, endpoint: str, key: str) -> ServiceError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return client_error(code, status, bucket, endpoint, key)


def client_error(code: str, status: int, bucket: str, endpoint: str, key: str) -> ServiceError:
    """What an answer of the store means. `code` is S3's, or the HTTP status as text; `status` 0: not known."""
    if code == "NoSuchBucket":
        return BucketMissing(
            f"bucket {bucket!r} does not exist at {endpoint}",
            hint="create it, or set PROMPTMILL_S3__BUCKET",
        )
    if code in _DENIED or status in (401, 403):
        return StoreRefused(
            f"the object store at {endpoint} refused ({code or status}) {key or bucket}",
            hint=f"check the access key, its rights and the clock; {_CHECK}",
        )
    if code in ("NoSuchKey", "404", "NotFound") or status == 404:
        return ObjectMissing(f"no object {key!r} in bucket {bucket!r}")
    if 300 <= status < 500 and status not in _PASSING_STATES and code not in _PASSING:
        return StoreRefused(
            f"the object store at {endpoint} will not do this ({code or status}): {key or bucket}",
            hint=f"check the endpoint and the region; {_CHECK}",
        )
    return StoreUnavailable(
        f"the object store at {endpoint} answered {code or status} for {key or bucket}", hint=_CHECK
    )
