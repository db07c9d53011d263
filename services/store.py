"""The object store: the truth. A thin layer over boto3 that works against any S3 endpoint.

Nothing here overwrites on purpose: keys hold a token or a hash, so a store needs no conditional writes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

from schemas.errors import BucketMissing, ObjectMissing
from services.settings import S3Settings
from services.store_client import PATIENT, Patience, make_client
from services.store_errors import client_error, mapped_errors

DELETE_BATCH = 1000  # S3's own limit for one DeleteObjects request


@dataclass(frozen=True)
class ObjectInfo:
    """An object's key below the prefix, its size in bytes, and the store's tag for its content (quotes removed).

    `modified` is the store's own time in seconds since 1970; None: not told.
    """

    key: str
    size: int
    etag: str
    modified: float | None = None


@dataclass(frozen=True)
class UnfinishedUpload:
    """The parts of an upload that was cut off: no object yet, and paid for. `begun` in seconds since 1970."""

    key: str
    upload_id: str
    begun: float


class ObjectStore:
    """The objects of one bucket below one prefix. Safe for use by many threads.

    Every method raises the errors of `services.store_errors.mapped_errors`.
    """

    def __init__(self, settings: S3Settings, patience: Patience = PATIENT) -> None:
        self._bucket = settings.bucket
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        self._endpoint = settings.endpoint_url or "AWS S3"
        with mapped_errors(self._bucket, self._endpoint):
            self._client: Any = make_client(settings, patience, self._endpoint)

    @property
    def place(self) -> str:
        """Where the objects lie, for messages: no secrets."""
        return f"s3://{self._bucket}/{self._prefix} at {self._endpoint}"

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def url(self, key: str) -> str:
        """The object's address as other tools write it."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def get(self, key: str) -> bytes:
        """All bytes of an object."""
        return self._get(Key=self._prefix + key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on."""
        return self._get(Key=self._prefix + key, Range=f"bytes={offset}-{offset + length - 1}")

    def get_foreign(self, bucket: str, key: str, limit: int) -> bytes:
        """An object of another bucket (a user's input image), at most `limit` + 1 bytes of it."""
        with mapped_errors(bucket, self._endpoint, key):
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                return bytes(body.read(limit + 1))

    def get_at_most(self, key: str, limit: int) -> bytes:
        """An object, at most `limit` + 1 bytes of it."""
        with mapped_errors(self._bucket, self._endpoint, self._prefix + key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            with closing(answer["Body"]) as body:
                return bytes(body.read(limit + 1))

    def _get(self, **request: Any) -> bytes:
        with mapped_errors(self._bucket, self._endpoint, request["Key"]):
            return bytes(self._client.get_object(Bucket=self._bucket, **request)["Body"].read())

    def put(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write an object whole; a cut upload leaves nothing behind."""
        with mapped_errors(self._bucket, self._endpoint, self._prefix + key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=data,
                ContentType=content_type,
                Metadata=dict(metadata or {}),
            )

    def put_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> None:
        """Write an object from a file of any size, in parts where it is large."""
        with mapped_errors(self._bucket, self._endpoint, self._prefix + key):
            self._client.upload_file(
                str(path), self._bucket, self._prefix + key, ExtraArgs={"ContentType": content_type}
            )

    def put_missing(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> bool:
        """Write an object unless one of the same size and content is there; says whether it wrote."""
        found = self.head(key)
        same = found is not None and found.size == len(data)
        if same and found is not None and found.etag in ("", hashlib.md5(data, usedforsecurity=False).hexdigest()):
            return False
        self.put(key, data, content_type)
        return True

    def download(self, key: str, file: BinaryIO, chunk: int = 1 << 20) -> str:
        """Copy an object into a file; returns the sha256 of its bytes as hex."""
        digest = hashlib.sha256()
        with mapped_errors(self._bucket, self._endpoint, self._prefix + key):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            with closing(answer["Body"]) as body:
                while block := body.read(chunk):
                    digest.update(block)
                    file.write(block)
        return digest.hexdigest()

    def head(self, key: str) -> ObjectInfo | None:
        """Size and tag of an object, or None where there is none."""
        try:
            with mapped_errors(self._bucket, self._endpoint, self._prefix + key):
                answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except ObjectMissing:
            return None
        return ObjectInfo(key, int(answer["ContentLength"]), str(answer.get("ETag", "")).strip('"'))

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        """All objects below a folder, in key order."""
        for page in self._pages(folder, delimiter=""):
            for found in page.get("Contents", []):
                key, etag = str(found["Key"]).removeprefix(self._prefix), str(found.get("ETag", "")).strip('"')
                yield ObjectInfo(key, int(found["Size"]), etag, _seconds(found.get("LastModified")))

    def list_folders(self, folder: str) -> Iterator[str]:
        """The folders right below a folder, each with a closing slash."""
        for page in self._pages(folder, delimiter="/"):
            for found in page.get("CommonPrefixes", []):
                yield str(found["Prefix"]).removeprefix(self._prefix)

    def _pages(self, folder: str, delimiter: str) -> Iterator[dict[str, Any]]:
        request = {"Bucket": self._bucket, "Prefix": self._prefix + folder, "Delimiter": delimiter}
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(**request))
        while True:
            # Only the request is mapped: an error that the caller raises between two pages is the caller's.
            with mapped_errors(self._bucket, self._endpoint, self._prefix + folder):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def delete(self, keys: Iterable[str]) -> int:
        """Delete objects; returns how many were named. A missing one is no error."""
        names = [{"Key": self._prefix + key} for key in keys]
        for start in range(0, len(names), DELETE_BATCH):
            with mapped_errors(self._bucket, self._endpoint):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": names[start : start + DELETE_BATCH], "Quiet": True}
                )
            for fault in answer.get("Errors", []):  # in an answer that is a success otherwise
                raise client_error(str(fault.get("Code", "")), 0, self._bucket, self._endpoint, str(fault.get("Key")))
        return len(names)

    def unfinished_uploads(self, folder: str) -> Iterator[UnfinishedUpload]:
        """Uploads in parts below a folder that were neither completed nor given up."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix + folder}
        pages = iter(self._client.get_paginator("list_multipart_uploads").paginate(**request))
        while True:
            with mapped_errors(self._bucket, self._endpoint, self._prefix + folder):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Uploads", []):
                key, begun = str(found["Key"]).removeprefix(self._prefix), _seconds(found.get("Initiated"))
                if begun is not None and key.startswith(folder):
                    yield UnfinishedUpload(key, str(found["UploadId"]), begun)

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Give up an unfinished upload; the store drops its parts. One that has ended meanwhile is no error."""
        request = {"Bucket": self._bucket, "Key": self._prefix + upload.key, "UploadId": upload.upload_id}
        with suppress(ObjectMissing), mapped_errors(self._bucket, self._endpoint, self._prefix + upload.key):
            self._client.abort_multipart_upload(**request)

    def presign(self, key: str, seconds: int) -> str:
        """An address that reads the object without credentials until it expires."""
        with mapped_errors(self._bucket, self._endpoint, self._prefix + key):
            return str(
                self._client.generate_presigned_url(
                    "get_object", Params={"Bucket": self._bucket, "Key": self._prefix + key}, ExpiresIn=seconds
                )
            )

    def check(self) -> None:
        """Whether the bucket can be reached and listed."""
        try:
            with mapped_errors(self._bucket, self._endpoint):
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + "jobs/", MaxKeys=1)
        except ObjectMissing:  # some stores answer a missing bucket with a bare 404
            raise BucketMissing(
                f"bucket {self._bucket!r} does not exist at {self._endpoint}",
                hint="create it, or set PROMPTMILL_S3__BUCKET",
            ) from None

    def clock(self) -> float | None:
        """The store's clock in seconds since 1970, to the second; None where its answers carry no date."""
        with mapped_errors(self._bucket, self._endpoint):
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + "jobs/", MaxKeys=1)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return parsedate_to_datetime(date).timestamp() if date else None

    def create_bucket(self) -> None:
        """Create the bucket where it does not exist."""
        try:
            self.check()
        except BucketMissing:
            with mapped_errors(self._bucket, self._endpoint):
                self._client.create_bucket(Bucket=self._bucket)


def _seconds(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
