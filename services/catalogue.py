"""The model catalogue: which aliases a manifest can name, and what each means.

The shipped `models.toml` lies beside this module; a file of the user's own adds entries or overrides fields.
Reading takes a few milliseconds and needs no torch: the planner takes its defaults from here.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from schemas.catalogue import EmbeddingEntry, LoraEntry, ModelEntry, parse_source
from schemas.errors import SettingsError
from services.adapter_shelf import TABLES, AdapterShelf, fill_shelves, told

SHIPPED = Path(__file__).with_name("models.toml")
LIST_HINT = "promptmill models list"

# As schemas.rows.ModelAlias: what a manifest could write.
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
# Fields that belong to the old source and mean nothing for another one.
_OF_THE_SOURCE = ("sources", "revision", "variant", "gated", "file", "sha256")


@dataclass(frozen=True)
class Catalogue:
    """All that a manifest can name: models, LoRAs, embeddings.

    Attributes:
        entries: canonical alias -> model, in the order of the files.
        names: every alias of a model, canonical or not -> canonical alias.
        loras: the LoRAs.
        embeddings: the textual inversions.
    """

    entries: Mapping[str, ModelEntry]
    names: Mapping[str, str]
    loras: AdapterShelf[LoraEntry]
    embeddings: AdapterShelf[EmbeddingEntry]

    @classmethod
    def load(cls, extra_file: Path | None = None) -> "Catalogue":
        """Read the shipped catalogue and, if given, a file that extends it.

        In the extending file a table whose name exists overrides the fields that it names (a new `source`
        resets what belonged to the old one); any other table is a new entry. Relative folders count from it.
        The tables below `loras` and `embeddings` are extended in the same way.

        Raises:
            SettingsError: unreadable or wrong; every fault is named with file, alias and field.
        """
        shelves: dict[str, dict[str, Any]] = {}
        origin: dict[str, Path] = {}
        for path in (SHIPPED, *([extra_file] if extra_file is not None else [])):
            read = _read(path)
            for shelf in ("", *TABLES):
                own = read.pop(shelf, {}) if shelf else {name: read[name] for name in read if name not in TABLES}
                if not isinstance(own, dict):
                    raise SettingsError(f"{path}: {shelf}: expected tables [{shelf}.NAME]")
                tables = shelves.setdefault(shelf, {})
                for alias, table in own.items():
                    tables[alias] = _override(tables.get(alias), _folders_from(table, path.parent))
                    origin[f"{shelf}.{alias}" if shelf else alias] = path
        return _build(shelves, origin)

    def resolve(self, alias: str) -> tuple[str, ModelEntry]:
        """Canonical alias and entry of a name.

        Raises:
            SettingsError: no such alias; the message gives near ones.
        """
        canonical = self.names.get(alias)
        if canonical is None:
            near = self.near(alias)
            guess = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SettingsError(f"no model {alias!r} in the catalogue{guess}", hint=LIST_HINT)
        return canonical, self.entries[canonical]

    def near(self, alias: str) -> list[str]:
        """Up to three names that look like this one."""
        lowered = {name.lower(): name for name in self.names}
        return [lowered[name] for name in difflib.get_close_matches(alias.lower(), lowered, n=3, cutoff=0.6)]

    def max_pixels(self) -> dict[str, int]:
        """The most output pixels of a model, by each of its names."""
        return {name: self.entries[alias].max_pixels for name, alias in self.names.items()}

    def __iter__(self) -> Iterator[tuple[str, ModelEntry]]:
        return iter(self.entries.items())


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}", hint="models_file names a readable file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None


def _override(shipped: Any, own: Any) -> Any:
    if not isinstance(shipped, dict) or not isinstance(own, dict):
        return own
    kept = {name: value for name, value in shipped.items() if "source" not in own or name not in _OF_THE_SOURCE}
    return kept | own


def _folders_from(table: Any, base: Path) -> Any:
    """The table with its relative folders made absolute; what is wrong in it is left for the entry to say."""
    if not isinstance(table, dict):
        return table
    found = dict(table)
    if isinstance(table.get("source"), str):
        found["source"] = _absolute(table["source"], base)
    if isinstance(table.get("sources"), dict):
        found["sources"] = {
            name: _absolute(text, base) if isinstance(text, str) else text for name, text in table["sources"].items()
        }
    return found


def _absolute(text: str, base: Path) -> str:
    try:
        kind, place = parse_source(text)
    except ValueError:
        return text
    return str((base / Path(place).expanduser()).resolve()) if kind == "folder" else text


def _build(shelves: dict[str, dict[str, Any]], origin: dict[str, Path]) -> Catalogue:
    entries: dict[str, ModelEntry] = {}
    faults: list[str] = []
    for alias, table in shelves[""].items():
        where = f"{origin[alias]}: {alias}"
        if not _ALIAS.fullmatch(alias):
            faults.append(f"{where}: an alias is 1 to 80 of letters, digits, dot, dash and underscore")
        elif not isinstance(table, dict):
            faults.append(f"{where}: expected a table [{alias}] with source, family and pipelines")
        else:
            try:
                entries[alias] = ModelEntry.model_validate(table)
            except ValidationError as error:
                faults.extend(told(where, error, ModelEntry))
    names, doubled = _names(entries, origin)
    faults.extend(doubled)
    loras, embeddings, unsound = fill_shelves(shelves["loras"], shelves["embeddings"], origin)
    faults.extend(unsound)
    if faults:
        raise SettingsError("model catalogue: " + "\n  ".join(["", *faults]).strip(), hint="fields: see models.toml")
    return Catalogue(MappingProxyType(entries), MappingProxyType(names), loras, embeddings)


def _names(entries: Mapping[str, ModelEntry], origin: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
    names = {alias: alias for alias in entries}
    faults: list[str] = []
    for alias, entry in entries.items():
        for other in entry.aliases:
            where = f"{origin[alias]}: {alias}.aliases"
            if not _ALIAS.fullmatch(other):
                faults.append(f"{where}: {other!r} cannot be an alias")
            elif names.setdefault(other, alias) != alias:
                faults.append(f"{where}: {other} already names {names[other]}")
    return names, faults
