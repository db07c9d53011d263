"""The object store's verbs over a dictionary, with faults on request: for tests of what stands above the store.

`tests/unit/services/test_store.py` holds the verbs themselves to a real S3 endpoint.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from schemas.errors import ObjectMissing, ServiceError
from services.store import ObjectInfo, ObjectStore, UnfinishedUpload

Fault = Callable[[str, str], ServiceError | None]


class MemoryStore(ObjectStore):
    """`fault` is asked before every verb, with its name and the key; what it returns is raised. `lost_reply` is asked
    once a put is done: what is raised then went well all the same.

    `now` is the store's clock, in seconds since 1970; it stands still until a test moves it.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.fault: Fault = lambda verb, key: None
        self.lost_reply: Fault = lambda verb, key: None
        self.now = 1_800_000_000.0
        self.uploads: list[UnfinishedUpload] = []
        self._modified: dict[str, float] = {}
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        return "memory"

    def _ask(self, verb: str, key: str) -> None:
        with self._lock:
            self.asked.append((verb, key))
        error = self.fault(verb, key)
        if error is not None:
            raise error

    def _found(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectMissing(f"no object {key!r}") from None

    def url(self, key: str) -> str:
        return f"s3://memory/{key}"

    def get(self, key: str) -> bytes:
        self._ask("get", key)
        return self._found(key)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self._ask("get", key)
        return self._found(key)[offset : offset + length]

    def get_foreign(self, bucket: str, key: str, limit: int) -> bytes:
        self._ask("get_foreign", f"{bucket}/{key}")
        return self._found(key)[: limit + 1]

    def get_at_most(self, key: str, limit: int) -> bytes:
        return self.get(key)[: limit + 1]

    def put(
        self,
        key: str,
        data: bytes,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._ask("put", key)
        self.objects[key] = bytes(data)
        self._modified[key] = self.now
        error = self.lost_reply("put", key)
        if error is not None:
            raise error

    def put_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> None:
        self.put(key, path.read_bytes())

    def download(self, key: str, file: BinaryIO, chunk: int = 1 << 20) -> str:
        data = self.get(key)
        file.write(data)
        return hashlib.sha256(data).hexdigest()

    def head(self, key: str) -> ObjectInfo | None:
        self._ask("head", key)
        data = self.objects.get(key)
        return None if data is None else self._info(key, data)

    def list(self, folder: str) -> Iterator[ObjectInfo]:
        self._ask("list", folder)
        for key in sorted(self.objects):
            if key.startswith(folder):
                yield self._info(key, self.objects[key])

    def list_folders(self, folder: str) -> Iterator[str]:
        self._ask("list", folder)
        below = (key.removeprefix(folder) for key in list(self.objects) if key.startswith(folder))
        yield from sorted({f"{folder}{rest.split('/')[0]}/" for rest in below if "/" in rest})

    def delete(self, keys: Iterable[str]) -> int:
        names = list(keys)
        for key in names:
            self._ask("delete", key)
            self.objects.pop(key, None)
        return len(names)

    def unfinished_uploads(self, folder: str) -> Iterator[UnfinishedUpload]:
        self._ask("unfinished_uploads", folder)
        yield from [upload for upload in self.uploads if upload.key.startswith(folder)]

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        self._ask("abort_upload", upload.key)
        self.uploads.remove(upload)

    def check(self) -> None:
        self._ask("check", "")

    def clock(self) -> float | None:
        return self.now

    def _info(self, key: str, data: bytes) -> ObjectInfo:
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return ObjectInfo(key, len(data), etag, self._modified.get(key))
