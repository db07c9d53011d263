"""Local input images that rows name: remembered while a manifest is checked, sent once it is sound."""

import hashlib
import json
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from orchestrator.local_disk import local_disk
from orchestrator.manifests.inputs import LocalInput, RowInputs
from schemas import keys
from schemas.errors import Fault, ManifestError
from services.store import ObjectStore

UPLOADS = 8


class InputUploads:
    """Each content once. What is to be sent stands in a file: memory holds 32 bytes an image.

    Args:
        path: of a file of its own.
    """

    def __init__(self, path: Path, job: str) -> None:
        self._path = path
        self._job = job
        self._known: set[bytes] = set()
        with local_disk(path):
            self._file = path.open("w+", encoding="utf-8")

    def add(self, checked: RowInputs) -> None:
        """Remember the local inputs of a row.

        Raises:
            LocalDiskError: the disk for temporary files is full.
        """
        row = checked.authored.row
        if row.pipeline == "txt2img" and not row.then:
            return
        for field, local in checked.local().items():
            digest = bytes.fromhex(local.facts.sha256)
            if digest not in self._known:
                self._known.add(digest)
                with local_disk(self._path):
                    self._file.write(json.dumps(self._entry(checked.authored.line, field, local)) + "\n")

    def _entry(self, line: int, field: str, local: LocalInput) -> list[str | int]:
        facts = local.facts
        key = keys.input_image(self._job, facts.sha256, facts.extension)
        return [key, str(local.path), facts.bytes, facts.sha256, line, field]

    def send(self, store: ObjectStore) -> None:
        """Write them to the store, those that are not there.

        Raises:
            ServiceError: the store does not answer.
            ManifestError: an image is not what it was when it was checked.
        """
        waiting: deque[Future[None]] = deque()
        with local_disk(self._path):
            self._file.seek(0)
        with ThreadPoolExecutor(UPLOADS, thread_name_prefix="inputs") as pool:
            try:
                for line in self._file:
                    waiting.append(pool.submit(_send, store, *json.loads(line)))
                    if len(waiting) > 4 * UPLOADS:
                        waiting.popleft().result()
                while waiting:
                    waiting.popleft().result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def __enter__(self) -> "InputUploads":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def _send(store: ObjectStore, key: str, path: str, size: int, sha256: str, line: int, field: str) -> None:
    # The key is the content's hash: one of this size is this one.
    found = store.head(key)
    if found is not None and found.size == size:
        return
    if _sha256(Path(path)) != sha256:
        fault = Fault(line=line, field=field, value=path, message="the image is not the one that was checked")
        raise ManifestError([fault], hint="it changed while the manifest was read; give the command again")
    store.put_file(key, Path(path))


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
