"""What a row adds to its model: LoRAs and textual inversions, for one batch at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.catalogue import AdapterEntry, parse_source
from schemas.errors import ModelUnavailable, SettingsError
from schemas.planned import PlannedRow
from schemas.result import AdapterInfo
from services.adapter_shelf import AdapterShelf
from services.catalogue import Catalogue
from workers.models.adapter_files import AdapterFile, AdapterKind, fetch_adapter
from workers.models.inversions import words_added
from workers.models.loras import LoraLayers


class RowAdapters:
    """The LoRAs and embeddings that rows name, as files on this machine.

    Args:
        catalogue: what rows can name.
        cache: where built-in ones are kept.
    """

    def __init__(self, catalogue: Catalogue, cache: Path) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._layers = LoraLayers()
        self._files: dict[tuple[AdapterKind, str], AdapterFile] = {}

    @contextmanager
    def put_into(self, pipe: Any, row: PlannedRow) -> Iterator[None]:
        """A pipeline with what a row adds to it. Afterwards it is as it was.

        Raises:
            ModelUnavailable: one of them cannot be had, or does not fit.
        """
        loras = [(self._file("lora", use.name), use.weight) for use in row.loras if use.weight]
        words = {name: self._file("embedding", name) for name in row.embeddings}
        if not loras:
            with words_added(pipe, words):
                yield
            return
        try:
            self._layers.put_in(pipe, loras)
            with words_added(pipe, words):
                yield
        finally:
            self._layers.rest(pipe)

    @contextmanager
    def words_of(self, pipe: Any, row: PlannedRow) -> Iterator[None]:
        """A pipeline that knows a row's embeddings, for what counts tokens alone.

        Raises:
            ModelUnavailable: one of them cannot be had, or does not fit.
        """
        with words_added(pipe, {name: self._file("embedding", name) for name in row.embeddings}):
            yield

    def fetch(self, row: PlannedRow, on_progress: Callable[[], None]) -> None:
        """Bring what a row names to this machine.

        Raises:
            ModelUnavailable: one of them cannot be had.
        """
        for use in row.loras:
            self._file("lora", use.name, on_progress)
        for name in row.embeddings:
            self._file("embedding", name, on_progress)

    def info(self, row: PlannedRow) -> tuple[AdapterInfo, ...]:
        """What a result records of them."""
        files = [self._file("lora", use.name) for use in row.loras]
        files += [self._file("embedding", name) for name in row.embeddings]
        return tuple(
            AdapterInfo(
                kind=file.kind,
                name=file.name,
                source=_public_source(file.entry.source),
                revision=file.revision,
                sha256=file.sha256,
                tensors_sha256=file.tensors_sha256,
            )
            for file in files
        )

    def _file(self, kind: AdapterKind, name: str, on_progress: Callable[[], None] | None = None) -> AdapterFile:
        shelf: AdapterShelf[Any] = self._catalogue.loras if kind == "lora" else self._catalogue.embeddings
        try:
            canonical, entry = shelf.resolve(name)
        except SettingsError as error:
            raise ModelUnavailable(error.message, hint=error.hint) from None
        return self._known(kind, canonical, entry, on_progress)

    def _known(
        self, kind: AdapterKind, name: str, entry: AdapterEntry, on_progress: Callable[[], None] | None
    ) -> AdapterFile:
        if (kind, name) not in self._files:
            self._files[kind, name] = fetch_adapter(kind, name, entry, self._cache, on_progress)
        return self._files[kind, name]


def _public_source(source: str) -> str:
    """A source as a result records it: of a local place its name alone, as the rest is this machine's own."""
    kind, place = parse_source(source)
    return f"folder:{Path(place).name}" if kind == "folder" else source
