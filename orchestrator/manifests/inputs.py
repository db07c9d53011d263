"""The local input images of rows: checked in parallel before anything is sent."""

import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.reading import AuthoredRow
from schemas.errors import InvalidInput
from services.input_images import ImageFacts, ImageLimits, check_local_image, check_mask_matches, is_local

_THREADS = 4
# Rows in hand; enough to keep the threads busy.
_WINDOW = 256
# Facts remembered, about a kilobyte each.
_MOST_REMEMBERED = 8192


@dataclass(frozen=True)
class LocalInput:
    """A local input image that was checked."""

    path: Path
    facts: ImageFacts


class RowInputs(NamedTuple):
    """A row and its local inputs. None: its pipeline takes none, or it is an `s3://` address, read by the worker."""

    authored: AuthoredRow
    image: LocalInput | None
    mask: LocalInput | None


_Checked = LocalInput | InvalidInput
_Pending = tuple[AuthoredRow, Future[_Checked] | None, Future[_Checked] | None]


class InputImages:
    """Checks input images; a file that many rows name is read once, unless it changes.

    Args:
        folder: what relative addresses are relative to: the manifest's folder, or the current one for standard input.
    """

    def __init__(self, folder: Path, limits: ImageLimits, *, threads: int = _THREADS) -> None:
        self._folder = folder
        self._limits = limits
        self._threads = threads
        self._known: OrderedDict[tuple[str, int, int], Future[_Checked]] = OrderedDict()

    def attach(self, rows: Iterable[AuthoredRow], faults: Faults) -> Iterator[RowInputs]:
        """Rows in their order with their checked inputs; a row whose input is unsound is a fault, and left out.

        Rows are read a little ahead, so their own faults may come first. Memory is constant.
        """
        with ThreadPoolExecutor(self._threads, thread_name_prefix="promptmill-inputs") as pool:
            waiting: deque[_Pending] = deque()
            for authored in rows:
                if authored.row.pipeline == "txt2img" and not waiting:
                    yield RowInputs(authored, None, None)
                    continue
                image = self._submit(pool, getattr(authored.row, "image", None))
                waiting.append((authored, image, self._submit(pool, getattr(authored.row, "mask", None))))
                if len(waiting) >= _WINDOW:
                    yield from self._finish(waiting.popleft(), faults)
            while waiting:
                yield from self._finish(waiting.popleft(), faults)

    def _submit(self, pool: ThreadPoolExecutor, address: str | None) -> Future[_Checked] | None:
        if address is None or not is_local(address):
            return None
        path = self._folder / address
        key = _identity(path)
        found = self._known.pop(key, None) or pool.submit(self._check, path)
        self._known[key] = found
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _check(self, path: Path) -> _Checked:
        try:
            return LocalInput(path, check_local_image(path, self._limits))
        except InvalidInput as error:
            return error

    def _finish(self, pending: _Pending, faults: Faults) -> Iterator[RowInputs]:
        authored, *futures = pending
        found: list[LocalInput | None] = []
        for field, future in zip(("image", "mask"), futures, strict=True):
            checked = future.result() if future else None
            if isinstance(checked, InvalidInput):
                faults.add(authored.line, checked.message, field=field, value=getattr(authored.row, field))
                continue
            found.append(checked)
        if len(found) < len(futures):
            return
        image, mask = found
        if image and mask and not _mask_matches(authored, image, mask, faults):
            return
        yield RowInputs(authored, image, mask)


def _mask_matches(authored: AuthoredRow, image: LocalInput, mask: LocalInput, faults: Faults) -> bool:
    try:
        check_mask_matches(image.facts.size, mask.facts.size)
    except InvalidInput as error:
        faults.add(authored.line, error.message, field="mask", value=getattr(authored.row, "mask", None))
        return False
    return True


def _identity(path: Path) -> tuple[str, int, int]:
    """Of a file as it is now: another time of change or length is another file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, once a row
    except (OSError, ValueError):
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size
