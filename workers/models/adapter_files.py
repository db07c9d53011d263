"""From a LoRA's or an embedding's entry to its file on this machine, known by its content."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.catalogue import AdapterEntry, parse_source
from schemas.errors import ModelUnavailable, PromptmillError
from workers.models.builtin_adapters import builtin_file

AdapterKind = Literal["lora", "embedding"]
# The safetensors format itself allows no larger one (its README, "Format").
_LARGEST_HEADER = 100_000_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class AdapterFile:
    """One file.

    Attributes:
        kind: what it is.
        name: canonical name in the catalogue.
        entry: its entry there.
        path: the file.
        revision: the hub's commit, or None.
        sha256: hex digest of the file.
        tensors_sha256: hex digest of what follows the header, by which A1111 names LoRAs (`Lora hashes`).
    """

    kind: AdapterKind
    name: str
    entry: AdapterEntry
    path: Path
    revision: str | None
    sha256: str
    tensors_sha256: str

    @property
    def key(self) -> str:
        """A name for its layers: of its content, and without dots, which torch forbids there."""
        return f"{self.kind}_{self.sha256[:20]}"


def fetch_adapter(
    kind: AdapterKind, name: str, entry: AdapterEntry, cache: Path, on_progress: Callable[[], None] | None = None
) -> AdapterFile:
    """The file of an entry, downloaded or made where needed, and checked.

    Args:
        kind: what it is.
        name: canonical name, for messages.
        entry: its entry in the catalogue.
        cache: where built-in ones are kept.
        on_progress: called as bytes of a download arrive.

    Raises:
        ModelUnavailable: it cannot be had, is no safetensors file, or not the one that the catalogue means.
    """
    try:
        path, revision = _place(name, entry, cache, on_progress)
        digests = _digests(path)
    except PromptmillError as error:
        raise ModelUnavailable(f"{kind} {name}: {error.message}", hint=error.hint) from None
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{kind} {name}: {error}", hint="see source in models.toml") from None
    if entry.sha256 not in (None, digests[0]):
        message = f"{kind} {name}: {path} has sha256 {digests[0]}, and the catalogue wants {entry.sha256}"
        raise ModelUnavailable(message, hint="another file of that name; see sha256 in models.toml")
    return AdapterFile(kind, name, entry, path, revision, *digests)


def local_file(entry: AdapterEntry) -> Path | None:
    """The file of an entry that names a local place, or None where nothing is there.

    Raises:
        ModelUnavailable: a folder that does not say which of its files.
    """
    path = Path(parse_source(entry.source).place).expanduser()
    if path.is_dir() and entry.file is None:
        inside = sorted(path.glob("*.safetensors"))
        if len(inside) != 1:
            message = f"{path} has {len(inside)} safetensors files: name one as file in models.toml"
            raise ModelUnavailable(message, hint="none other than safetensors is read")
        return inside[0]
    path = path / entry.file if path.is_dir() and entry.file else path
    if path.is_file() and path.suffix != ".safetensors":
        raise ModelUnavailable(f"{path} is no safetensors file, and no others are read")
    return path if path.is_file() else None


def _place(
    name: str, entry: AdapterEntry, cache: Path, on_progress: Callable[[], None] | None
) -> tuple[Path, str | None]:
    kind, place = parse_source(entry.source)
    if kind == "builtin":
        return builtin_file(place, cache), None
    if kind == "folder":
        path = local_file(entry)
        if path is None:
            raise ModelUnavailable(f"no file {place} on this machine", hint="see source and file in models.toml")
        return path, None
    try:
        from workers.models.hub import hub_file
    except ImportError as error:
        raise ModelUnavailable(f"{entry.source}: {error}", hint="pip install 'promptmill[worker]'") from None
    hint = f"promptmill models pull {name}"
    return hub_file(place, entry.file or "", entry.revision, pull_hint=hint, on_progress=on_progress)


def _digests(path: Path) -> tuple[str, str]:
    """sha256 of the file, and of what follows its header.

    Raises:
        ValueError: not a safetensors file.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > _LARGEST_HEADER:
            raise ValueError(f"{path} is no safetensors file")
        header = file.read(length)
        try:
            json.loads(header)
        except (ValueError, RecursionError):
            raise ValueError(f"{path} is no safetensors file") from None
        whole, tensors = hashlib.sha256(start + header), hashlib.sha256()
        while block := file.read(_BLOCK):
            whole.update(block)
            tensors.update(block)
    return whole.hexdigest(), tensors.hexdigest()
