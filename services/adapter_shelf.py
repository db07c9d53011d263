"""The LoRAs and textual inversions of the catalogue, by name."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from schemas.catalogue import AdapterEntry, EmbeddingEntry, LoraEntry
from schemas.errors import SettingsError

TABLES = ("loras", "embeddings")
# As schemas.adapters.AdapterName: what a manifest could write.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
Entry = TypeVar("Entry", bound=AdapterEntry)


@dataclass(frozen=True)
class AdapterShelf(Generic[Entry]):
    """All of one kind.

    Attributes:
        noun: what one of them is called in messages.
        entries: canonical name -> entry, in the order of the files.
        names: every name, canonical or not -> canonical name.
    """

    noun: str
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def resolve(self, name: str) -> tuple[str, Entry]:
        """Canonical name and entry of a name.

        Raises:
            SettingsError: none of that name; the message gives near ones.
        """
        canonical = self.names.get(name)
        if canonical is None:
            lowered = {known.lower(): known for known in self.names}
            near = [lowered[known] for known in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)]
            guess = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SettingsError(f"no {self.noun} {name!r} in the catalogue{guess}", hint="promptmill models list")
        return canonical, self.entries[canonical]

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return iter(self.entries.items())


def fill_shelves(
    loras: Mapping[str, Any], embeddings: Mapping[str, Any], origin: Mapping[str, Path]
) -> tuple[AdapterShelf[LoraEntry], AdapterShelf[EmbeddingEntry], list[str]]:
    """Both shelves, and what is wrong with their tables; `origin` gives the file of `loras.NAME`."""
    faults: list[str] = []
    return (
        _filled("LoRA", "loras", LoraEntry, loras, origin, faults),
        _filled("embedding", "embeddings", EmbeddingEntry, embeddings, origin, faults),
        faults,
    )


def _filled(
    noun: str,
    shelf: str,
    kind: type[Entry],
    tables: Mapping[str, Any],
    origin: Mapping[str, Path],
    faults: list[str],
) -> AdapterShelf[Entry]:
    entries: dict[str, Entry] = {}
    for name, table in tables.items():
        where = f"{origin[f'{shelf}.{name}']}: {shelf}.{name}"
        if not _NAME.fullmatch(name):
            faults.append(f"{where}: a name is 1 to 80 of letters, digits, dot, dash and underscore")
        elif not isinstance(table, dict):
            faults.append(f"{where}: expected a table [{shelf}.{name}] with source and family")
        else:
            try:
                entries[name] = kind.model_validate(table)
            except ValidationError as error:
                faults.extend(told(where, error, kind))
    names = {name: name for name in entries}
    for name, entry in entries.items():
        for other in entry.aliases:
            if not _NAME.fullmatch(other) or names.setdefault(other, name) != name:
                where = f"{origin[f'{shelf}.{name}']}: {shelf}.{name}.aliases"
                faults.append(f"{where}: {other!r} " + ("names another" if other in names else "cannot be a name"))
    return AdapterShelf(noun, MappingProxyType(entries), MappingProxyType(names))


def told(where: str, error: ValidationError, kind: type[Any]) -> Iterator[str]:
    """The faults of one table, in our own words."""
    for fault in error.errors(include_url=False):
        path = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(fault["loc"][-1]), kind.model_fields, n=1)
            message = "no such field" + (f"; did you mean {near[0]}?" if near else "")
        yield f"{where}{'.' + path if path else ''}: {message}"
