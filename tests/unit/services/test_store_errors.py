"""Every error of botocore's, boto3's and urllib3's is one of ours, with what to do; none is left out."""

import inspect
from string import Formatter
from typing import Any

import boto3.exceptions
import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from schemas.errors import BucketMissing, ObjectMissing, ServiceError, StoreRefused, StoreUnavailable
from services.store_errors import mapped_errors


def made(kind: type[Exception]) -> Exception:
    """An error of this kind, with its own message."""
    fields = Formatter().parse(getattr(kind, "fmt", ""))
    names: dict[str, Any] = {name.split(".")[0].split("[")[0]: f"<{name}>" for _, name, _, _ in fields if name}
    if issubclass(kind, botocore.exceptions.WaiterError):
        names["last_response"] = {}
    return kind(**names)


def caught(error: BaseException) -> ServiceError:
    with pytest.raises(ServiceError) as found, mapped_errors("bucket", "http://here", "some/key"):
        raise error
    return found.value


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[typeddict-item]


BOTOCORE = [
    kind
    for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass)
    if issubclass(kind, BotoCoreError) and kind is not BotoCoreError
]


@pytest.mark.parametrize("kind", BOTOCORE, ids=lambda kind: kind.__name__)
def test_every_error_of_botocore_is_mapped(kind: type[BotoCoreError]) -> None:
    error = caught(made(kind))
    assert isinstance(error, StoreUnavailable | StoreRefused)
    assert error.exit_status == 4
    assert error.hint
    assert "http://here" in error.message


@pytest.mark.parametrize(
    "kind",
    [
        botocore.exceptions.EndpointConnectionError,
        botocore.exceptions.ConnectTimeoutError,
        botocore.exceptions.ReadTimeoutError,
        botocore.exceptions.ConnectionClosedError,
        botocore.exceptions.ResponseStreamingError,
        botocore.exceptions.IncompleteReadError,
        botocore.exceptions.SSLError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.FlexibleChecksumError,
        botocore.exceptions.CredentialRetrievalError,
    ],
)
def test_no_answer_or_half_of_one_is_an_outage(kind: type[BotoCoreError]) -> None:
    error = caught(made(kind))
    assert isinstance(error, StoreUnavailable)
    assert kind.__name__ in error.message


@pytest.mark.parametrize(
    "kind", [botocore.exceptions.ProfileNotFound, botocore.exceptions.ParamValidationError, NoCredentialsError]
)
def test_what_no_second_try_mends_is_a_refusal(kind: type[BotoCoreError]) -> None:
    assert isinstance(caught(made(kind)), StoreRefused)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchBucket", 404, BucketMissing),
        ("NoSuchKey", 404, ObjectMissing),
        ("404", 404, ObjectMissing),
        ("NotFound", 404, ObjectMissing),
        ("AccessDenied", 403, StoreRefused),
        ("403", 403, StoreRefused),
        ("401", 401, StoreRefused),
        ("InvalidObjectState", 403, StoreRefused),
        ("SignatureDoesNotMatch", 403, StoreRefused),
        ("InvalidAccessKeyId", 403, StoreRefused),
        ("ExpiredToken", 400, StoreRefused),
        ("RequestTimeTooSkewed", 403, StoreRefused),
        ("KeyTooLongError", 400, StoreRefused),
        ("InvalidRange", 416, StoreRefused),
        ("PermanentRedirect", 301, StoreRefused),
        ("AuthorizationHeaderMalformed", 400, StoreRefused),
        ("MethodNotAllowed", 405, StoreRefused),
        ("400", 400, StoreRefused),
        ("RequestTimeout", 400, StoreUnavailable),
        ("BadDigest", 400, StoreUnavailable),
        ("IncompleteBody", 400, StoreUnavailable),
        ("OperationAborted", 409, StoreUnavailable),
        ("408", 408, StoreUnavailable),
        ("TooManyRequests", 429, StoreUnavailable),
        ("SlowDown", 503, StoreUnavailable),
        ("InternalError", 500, StoreUnavailable),
        ("503", 503, StoreUnavailable),
        ("NotImplemented", 501, StoreUnavailable),
        ("", 0, StoreUnavailable),
    ],
)
def test_an_answer_means_what_its_code_and_status_say(code: str, status: int, expected: type[ServiceError]) -> None:
    error = caught(client_error(code, status))
    assert type(error) is expected
    assert error.message
    if expected is not ObjectMissing:
        assert error.hint


def test_an_answer_without_a_body_is_mapped_by_what_there_is() -> None:
    assert isinstance(caught(ClientError({}, "HeadObject")), StoreUnavailable)


def test_the_error_that_boto3_makes_of_an_answer_while_it_sends_a_file_is_seen_through() -> None:
    try:
        try:
            raise client_error("NoSuchBucket", 404)
        except ClientError as error:
            raise boto3.exceptions.S3UploadFailedError("hidden") from error
    except boto3.exceptions.S3UploadFailedError as error:
        hidden = error
    assert isinstance(caught(hidden), BucketMissing)
    assert isinstance(caught(boto3.exceptions.S3UploadFailedError("without a cause")), StoreUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        urllib3.exceptions.ProtocolError("cut"),
        urllib3.exceptions.IncompleteRead(1, 2),
        urllib3.exceptions.DecodeError("gzip"),
    ],
)
def test_an_answer_that_breaks_off_is_an_outage(error: Exception) -> None:
    assert isinstance(caught(error), StoreUnavailable)


def test_an_endpoint_that_is_no_address_is_a_refusal_that_names_it() -> None:
    error = caught(ValueError("Invalid endpoint: nonsense"))
    assert isinstance(error, StoreRefused)
    assert "http://here" in error.message


@pytest.mark.parametrize("error", [KeyError("a"), OSError(28, "disk full"), ObjectMissing("ours")])
def test_what_is_not_the_stores_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as found, mapped_errors("bucket", "http://here"):
        raise error
    assert found.value is error
