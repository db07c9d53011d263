"""Images in, rows out: read in threads, merged, streamed. Memory holds a few dozen bytes for each row."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from orchestrator.importing.files import image_files, name_text
from orchestrator.importing.free_ids import FreeIds, id_of_file
from orchestrator.importing.inputs_by_content import InputFiles
from orchestrator.importing.locating import with_files
from orchestrator.importing.own import ADDRESS, one_image
from orchestrator.importing.reading import Finding, FoundRow, read_image
from orchestrator.importing.report import ImportReport, Tally
from orchestrator.prefetch import prefetch
from schemas.rows import ModelAlias
from services.catalogue import Catalogue

_THREADS = 8
_WAITING = 4096  # rows that wait for images of their other stages
_WEIGHTS = (".safetensors", ".ckpt")
MODEL_COLUMN = "imported_model"
_ALIAS: TypeAdapter[str] = TypeAdapter(ModelAlias)


@dataclass(frozen=True)
class ImportOptions:
    """How images become rows.

    Args:
        each: one row for each image, with its own seed, instead of one for all images of a row.
        models: another name of a model -> alias.
        folder: where the manifest will stand: addresses of inputs are relative to it.
    """

    each: bool = False
    models: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)


@dataclass
class _Waiting:
    """A row that is not written yet: images of further stages may follow. Once it is, its values are given up."""

    values: dict[str, Any]
    file: Path


@dataclass
class _Seen:
    """A row of ours: which of its images were met, each at which stages (a bit each), and of how many."""

    row_id: str
    images: int
    waiting: _Waiting
    met: dict[int, int] = field(default_factory=dict)

    def take(self, image: int, values: dict[str, Any]) -> Literal["taken", "copy", "late"]:
        """Take an image into account: one of another stage makes the row one that keeps all of them."""
        depth = len(values.get("then", ()))
        known = self.met.get(depth, 0)
        if known >> image & 1:
            return "copy"
        if self.met and not known:
            written = self.waiting.values
            if not written:
                return "late"
            self.waiting.values = max(written, values, key=lambda one: len(one.get("then", ()))) | {"keep": "all"}
        self.met[depth] = known | 1 << image
        return "taken"

    @property
    def missing(self) -> int:
        """Images that were met at no stage."""
        found = 0
        for bits in self.met.values():
            found |= bits
        return self.images - found.bit_count()


class Importer:
    """One import.

    Args:
        write: takes the rows, in the order of the files.
        on_finding: every finding, as it comes.
        on_progress: files looked at so far, and rows.
    """

    def __init__(
        self,
        options: ImportOptions,
        catalogue: Catalogue,
        inputs: InputFiles,
        write: Callable[[dict[str, Any]], None],
        *,
        on_finding: Callable[[Finding], None] = lambda finding: None,
        on_progress: Callable[[int, int], None] = lambda files, rows: None,
    ) -> None:
        self._options = options
        self._catalogue = catalogue
        self._inputs = inputs
        self._write = write
        self._on_finding = on_finding
        self._on_progress = on_progress
        self._tally = Tally()
        self._ids = FreeIds()
        self._seen: dict[bytes, _Seen] = {}
        self._queue: deque[_Waiting] = deque()
        self._asked: set[str] = set()

    def run(self, paths: Iterable[Path]) -> ImportReport:
        """Read all images; returns what was found.

        Raises:
            SettingsError: a path does not exist.
            ServiceError: the store with the inputs did not answer.
        """
        tally = self._tally
        with (
            ThreadPoolExecutor(_THREADS, thread_name_prefix="import") as pool,
            closing(prefetch(pool, read_image, image_files(paths), 16 * _THREADS)) as results,
        ):
            for found in results:
                tally.files += 1
                if isinstance(found, Finding):
                    self._find(found)
                else:
                    self._take(found)
                self._on_progress(tally.files, tally.rows)
        while self._queue:
            self._put(self._queue.popleft())
        for seen in self._seen.values():
            if seen.missing:
                message = f"{seen.images - seen.missing} of its {seen.images} images were found"
                self._find(Finding(seen.row_id, "incomplete", message))
        return tally.report()

    def _take(self, found: FoundRow) -> None:
        self._tally.tools[found.tool] += 1
        self._tally.leave_out(found.left_out)
        values = self._with_alias(found)
        if found.record is None:
            # Where a row of another tool comes from is worth a column; our own rows come back as they were.
            named = {"id": id_of_file(found.file.stem)} | values | {"imported_from": name_text(found.file.name)}
            self._queue.append(_Waiting(named, found.file))
        elif self._options.each:
            self._take_own(one_image(values, found.record), 0, found.file)
        else:
            self._take_own(values, found.record.image, found.file)
        while len(self._queue) > _WAITING:
            self._put(self._queue.popleft())

    def _take_own(self, values: dict[str, Any], image: int, file: Path) -> None:
        """One image of a row of ours. Images of several stages of a chain are of one row, which keeps them all."""
        own = {name: value for name, value in values.items() if name != "then"}
        key = hashlib.blake2b(json.dumps(own, sort_keys=True).encode(), digest_size=16).digest()
        seen = self._seen.get(key)
        if seen is None:
            waiting = _Waiting(values, file)
            seen = self._seen[key] = _Seen(str(values["id"]), int(values.get("num_images", 1)), waiting)
            self._queue.append(waiting)
        became = seen.take(image, values)
        if became == "late":
            reason = "of another stage than those of its row met before, and too far from them: import it by itself"
            self._find(Finding(name_text(file), "not_taken", reason))
        self._tally.copies += became == "copy"

    def _put(self, waiting: _Waiting) -> None:
        values, file = waiting.values, waiting.file
        row_id = self._ids.take(str(values["id"]))
        if row_id != values["id"]:
            self._find(Finding(name_text(file), "renamed", f"id {values['id']} is taken by another row: {row_id} here"))
        row = with_files(values, lambda sha256: self._file_of(sha256, file))
        self._write(row | {"id": row_id})
        waiting.values = {}
        self._tally.rows += 1
        self._tally.images += int(values.get("num_images", 1))

    def _with_alias(self, found: FoundRow) -> dict[str, Any]:
        """The row with its model by an alias of the catalogue, where there is one.

        A name that no catalogue can have stands in a column of its own, so that `--set model=ALIAS` gives the row one.
        """
        name = found.values.get("model")
        if name is None:
            return found.values
        plain = name.replace("\\", "/").rpartition("/")[2]
        for ending in _WEIGHTS:
            plain = plain.removesuffix(ending)
        mapped = self._options.models.get(name) or self._options.models.get(plain)
        alias = mapped or (name if name in self._catalogue.names else plain)
        if alias in self._catalogue.names:
            return found.values | {"model": alias}
        self._tally.unknown_models[name] += 1
        if _is_alias(alias):
            return found.values | {"model": alias}
        return {field: value for field, value in found.values.items() if field != "model"} | {MODEL_COLUMN: name}

    def _file_of(self, sha256: str, named_by: Path) -> str | None:
        """The address of an input, seen from where the manifest will stand."""
        first = sha256 not in self._asked
        self._asked.add(sha256)
        self._tally.inputs += first
        path = self._inputs.find(sha256)
        if path is not None:
            return os.path.relpath(path.resolve(), self._options.folder.resolve())
        if first:
            self._find(Finding(name_text(named_by), "missing_input", f"{ADDRESS}{sha256}"))
        return None

    def _find(self, finding: Finding) -> None:
        self._tally.find(finding)
        self._on_finding(finding)


def _is_alias(text: str) -> bool:
    try:
        _ALIAS.validate_python(text)
    except ValidationError:
        return False
    return True
