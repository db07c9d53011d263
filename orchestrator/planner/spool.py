"""The parts of a plan on this machine's disk, until the manifest is known to be sound: then they are sent."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from orchestrator.local_disk import local_disk
from services.failpoints import failpoint
from services.store import ObjectStore

UPLOADS = 8
_CODEC = "zstd"


class PlanSpool:
    """Objects in their order, compressed: a plan of a million rows takes some tens of megabytes.

    Args:
        folder: a new one of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._objects: list[tuple[str, str, int]] = []
        self._lock = threading.Lock()
        with local_disk(folder):
            folder.mkdir()

    def put(self, key: str, data: bytes, content_type: str = "") -> None:
        """Keep one object.

        Raises:
            LocalDiskError: the disk for temporary files is full.
        """
        with self._lock:
            path = self._path(len(self._objects))
            self._objects.append((key, content_type, len(data)))
        with local_disk(self._folder, "set TMPDIR to a folder with room"):
            path.write_bytes(pa.compress(data, codec=_CODEC, asbytes=True))

    put_missing = put

    def __len__(self) -> int:
        return len(self._objects)

    def send(self, store: ObjectStore, *, resume: bool, on_sent: Callable[[int], None] = lambda _: None) -> None:
        """Write every object to the store, some at a time, and the last one when all others are there.

        Args:
            resume: those that are there already, with the same content, are not sent again.
            on_sent: called with the number of objects that are there.

        Raises:
            ServiceError: the store does not answer.
        """
        put = store.put_missing if resume else store.put

        def one(number: int) -> None:
            key, content_type, size = self._objects[number]
            path = self._path(number)
            with local_disk(self._folder):
                data = path.read_bytes()
            put(key, pa.decompress(data, size, codec=_CODEC, asbytes=True), content_type)
            failpoint("plan.part")
            path.unlink(missing_ok=True)

        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(UPLOADS, thread_name_prefix="plan") as pool:
            try:
                for number in range(len(self) - 1):
                    waiting.append(pool.submit(one, number))
                    if len(waiting) > 2 * UPLOADS:
                        waiting.popleft().result()
                        on_sent(number + 1 - len(waiting))
                while waiting:
                    waiting.popleft().result()
                failpoint("plan.parts")
                if len(self):
                    one(len(self) - 1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        on_sent(len(self))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}"
