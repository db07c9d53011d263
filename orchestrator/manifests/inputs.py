"""The local input images of rows: checked in parallel before anything is sent."""

import os
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.reading import AuthoredRow
from orchestrator.manifests.row_faults import RowFaults
from schemas.errors import InvalidInput
from schemas.rows import Inpaint, InpaintStage, Row, Txt2Img, stage_field
from services.input_addresses import InputRules, is_local
from services.input_images import ImageFacts, ImageLimits, check_local_image, check_mask_matches

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
    """A row and its local inputs. None: its pipeline takes none, or it is an `s3://` address, read by the worker.

    `stage_masks` holds the local masks of its stages, by `schemas.rows.stage_field`.
    """

    authored: AuthoredRow
    image: LocalInput | None
    mask: LocalInput | None
    stage_masks: Mapping[str, LocalInput] = MappingProxyType({})

    def local(self) -> dict[str, LocalInput]:
        """All local inputs by the name of their field."""
        own = {"image": self.image, "mask": self.mask}
        return {name: found for name, found in own.items() if found is not None} | dict(self.stage_masks)


def input_addresses(row: Row) -> dict[str, str]:
    """Every input image of a row and of its stages, by the name of its field: `image`, `mask`, `then[0].mask`."""
    # By type: to ask a model for a field that it lacks is slow.
    found: dict[str, str] = {} if isinstance(row, Txt2Img) else {"image": row.image}
    if isinstance(row, Inpaint):
        found["mask"] = row.mask
    for position, stage in enumerate(row.then):
        if isinstance(stage, InpaintStage):
            found[stage_field(position, "mask")] = stage.mask
    return found


_Checked = LocalInput | InvalidInput
_Pending = tuple[AuthoredRow, dict[str, Future[_Checked]]]


class InputImages:
    """Checks input images; a file that many rows name is read once, unless it changes.

    Args:
        folder: what relative addresses are relative to: the manifest's folder, or the current one for standard input.
        limits: of local files.
        rules: which other addresses rows may name; None: the worker decides.
    """

    def __init__(
        self, folder: Path, limits: ImageLimits, rules: InputRules | None = None, *, threads: int = _THREADS
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._rules = rules
        self._threads = threads
        self._known: OrderedDict[tuple[str, int, int], Future[_Checked]] = OrderedDict()

    def attach(self, rows: Iterable[AuthoredRow], faults: Faults) -> Iterator[RowInputs]:
        """Rows in their order with their checked inputs; a row whose input is unsound is a fault, and left out.

        Rows are read a little ahead, so their own faults may come first. Memory is constant.
        """
        found = RowFaults(faults)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="promptmill-inputs") as pool:
            waiting: deque[_Pending] = deque()
            for authored in rows:
                row = authored.row
                if row.pipeline == "txt2img" and not row.then and not waiting:
                    yield RowInputs(authored, None, None)
                    continue
                addresses = input_addresses(row)
                if not addresses and not waiting:
                    yield RowInputs(authored, None, None)
                    continue
                local = {name: address for name, address in addresses.items() if is_local(address)}
                if len(local) < len(addresses) and not self._may_read(authored, addresses, found):
                    continue
                waiting.append((authored, {name: self._submit(pool, address) for name, address in local.items()}))
                if len(waiting) >= _WINDOW:
                    yield from self._finish(waiting.popleft(), found)
            while waiting:
                yield from self._finish(waiting.popleft(), found)

    def _may_read(self, authored: AuthoredRow, addresses: Mapping[str, str], faults: RowFaults) -> bool:
        allowed = True
        for field, address in addresses.items():
            problem = None if self._rules is None or is_local(address) else self._rules.problem(address)
            if problem is not None:
                faults.add(authored, problem, field=field, value=address)
                allowed = False
        return allowed

    def _submit(self, pool: ThreadPoolExecutor, address: str) -> Future[_Checked]:
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

    def _finish(self, pending: _Pending, faults: RowFaults) -> Iterator[RowInputs]:
        authored, futures = pending
        found: dict[str, LocalInput] = {}
        for field, future in futures.items():
            checked = future.result()
            if isinstance(checked, InvalidInput):
                faults.add(authored, checked.message, field=field, value=input_addresses(authored.row)[field])
                continue
            found[field] = checked
        if len(found) < len(futures):
            return
        image, mask = found.pop("image", None), found.pop("mask", None)
        if image and mask and not _mask_matches(authored, image, mask, faults):
            return
        yield RowInputs(authored, image, mask, found)


def _mask_matches(authored: AuthoredRow, image: LocalInput, mask: LocalInput, faults: RowFaults) -> bool:
    try:
        check_mask_matches(image.facts.size, mask.facts.size)
    except InvalidInput as error:
        faults.add(authored, error.message, field="mask", value=getattr(authored.row, "mask", None))
        return False
    return True


def _identity(path: Path) -> tuple[str, int, int]:
    """Of a file as it is now: another time of change or length is another file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, once a row
    except (OSError, ValueError):
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size
