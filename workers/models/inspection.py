"""Whether a model is on this machine, without loading it and without a network."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.catalogue import AdapterEntry, ModelEntry, parse_source
from schemas.errors import ModelUnavailable
from workers.models.adapter_files import AdapterKind, local_file
from workers.models.folders import ModelFolder, needs_weights, read_folder
from workers.models.sources import pull_hint

_COMMIT = re.compile(r"[0-9a-f]{40}")
WORKER_HINT = "pip install 'promptmill[worker]'"


class SourceReport(Frozen):
    """One source of a model."""

    source: str
    state: Literal["ready", "missing", "broken"]
    detail: str = Field("", description="what is wrong, or how it comes to be")
    path: str | None = None
    revision: str | None = None
    bytes: int | None = Field(None, description="size of the weights that would be loaded")
    moves: str = Field("", description="of the hub: why another pull may bring other files, and how to pin these")


class ModelReport(Frozen):
    """One model."""

    alias: str
    ready: bool
    sources: tuple[SourceReport, ...]
    hint: str = ""


def why_it_moves(revision: str | None, cached: str | None) -> str:
    """What a hub source that names no commit means for results that are to be made again; empty where it names one.

    Args:
        revision: what the catalogue says.
        cached: the commit that is on this machine, where it is known.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return ""
    told = f"{revision or 'main'} is a branch: its files can change"
    return f'{told}; pin what is here with revision = "{cached}"' if cached and _COMMIT.fullmatch(cached) else told


def inspect_model(alias: str, entry: ModelEntry) -> ModelReport:
    """What this machine has of a model."""
    sources = tuple(_inspect(source, entry) for source in dict.fromkeys((entry.source, *entry.sources.values())))
    ready = all(report.state == "ready" for report in sources)
    hub = any(parse_source(report.source).kind == "hub" for report in sources if report.state != "ready")
    return ModelReport(alias=alias, ready=ready, sources=sources, hint=pull_hint(alias) if hub else "")


def inspect_adapter(kind: AdapterKind, name: str, entry: AdapterEntry) -> ModelReport:
    """What this machine has of a LoRA or an embedding."""
    report = _inspect_file(entry)
    hub = parse_source(entry.source).kind == "hub" and report.state != "ready"
    alias = f"{name} ({kind})"
    return ModelReport(
        alias=alias, ready=report.state == "ready", sources=(report,), hint=pull_hint(name) if hub else ""
    )


def _inspect_file(entry: AdapterEntry) -> SourceReport:
    kind, place = parse_source(entry.source)
    if kind == "builtin":
        return _builtin(entry.source)
    try:
        path, revision = (local_file(entry), None) if kind == "folder" else _on_hub(place, entry)
    except ModelUnavailable as error:
        return SourceReport(source=entry.source, state="broken", detail=error.message)
    except ImportError:
        return SourceReport(source=entry.source, state="missing", detail=f"needs huggingface_hub: {WORKER_HINT}")
    if path is None:
        return SourceReport(source=entry.source, state="missing", detail="not on this machine")
    size = path.stat().st_size
    moves = why_it_moves(entry.revision, revision) if kind == "hub" else ""
    return SourceReport(source=entry.source, state="ready", path=str(path), revision=revision, bytes=size, moves=moves)


def _on_hub(place: str, entry: AdapterEntry) -> tuple[Path | None, str | None]:
    from workers.models.hub import cached_hub_file

    return cached_hub_file(place, entry.file or "", entry.revision) or (None, None)


def _builtin(source: str) -> SourceReport:
    if find_spec("torch") is None:
        return SourceReport(source=source, state="missing", detail=f"needs torch: {WORKER_HINT}")
    return SourceReport(source=source, state="ready", detail="made here on first use")


def _inspect(source: str, entry: ModelEntry) -> SourceReport:
    kind, place = parse_source(source)
    if kind == "builtin":
        return _builtin(source)
    moves = why_it_moves(entry.revision, None) if kind == "hub" else ""
    try:
        folder = _folder(kind == "hub", place, entry)
    except ModelUnavailable as error:
        return SourceReport(source=source, state="broken", detail=error.message, moves=moves)
    except ImportError:
        return SourceReport(source=source, state="missing", detail=f"needs huggingface_hub: {WORKER_HINT}")
    if folder is None:
        return SourceReport(source=source, state="missing", detail="not on this machine", moves=moves)
    faults = folder.faults()
    return SourceReport(
        source=source,
        state="broken" if faults else "ready",
        detail="; ".join(faults),
        path=str(folder.path),
        revision=folder.revision,
        moves=why_it_moves(entry.revision, folder.revision) if kind == "hub" else "",
        bytes=sum(folder.weight_bytes(part) for part in folder.components if needs_weights(part)),
    )


def _folder(on_hub: bool, place: str, entry: ModelEntry) -> ModelFolder | None:
    if on_hub:
        from workers.models.hub import cached_hub_folder

        return cached_hub_folder(place, entry.revision, entry.variant)
    path = Path(place).expanduser()
    return read_folder(path, variant=entry.variant) if path.is_dir() else None
