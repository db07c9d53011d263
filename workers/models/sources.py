"""From an entry of the catalogue to folders on this machine. No torch, except where a built-in model is made."""

from collections.abc import Callable
from pathlib import Path

from schemas.catalogue import ModelEntry, parse_source
from schemas.errors import ModelUnavailable, PromptmillError
from workers.models.builtin import builtin_folder
from workers.models.folders import ModelFolder, read_folder


def fetch(
    alias: str, entry: ModelEntry, cache: Path, on_progress: Callable[[], None] | None = None
) -> dict[str, ModelFolder]:
    """Every source of a model as a folder, downloaded or built where needed, and checked for completeness.

    Args:
        alias: canonical alias, for messages.
        entry: the model.
        cache: where built-in models are kept.
        on_progress: called as bytes of a download arrive.

    Raises:
        ModelUnavailable: a source cannot be had, or lacks something; the message names model and source.
    """
    found: dict[str, ModelFolder] = {}
    for source in dict.fromkeys((entry.source, *entry.sources.values())):
        try:
            found[source] = _folder(alias, entry, source, cache, on_progress)
        except PromptmillError as error:
            raise ModelUnavailable(f"model {alias}: {error.message}", hint=error.hint) from None
        if source != entry.source:
            found[source] = found[source].leaning_on(found[entry.source])
        faults = found[source].faults()
        if faults:
            raise ModelUnavailable(f"model {alias}: {source}: {'; '.join(faults)}", hint=pull_hint(alias))
        if on_progress is not None:
            on_progress()
    return found


def pull_hint(alias: str) -> str:
    """The command that brings a model to this machine."""
    return f"promptmill models pull {alias}"


def _folder(
    alias: str, entry: ModelEntry, source: str, cache: Path, on_progress: Callable[[], None] | None
) -> ModelFolder:
    kind, place = parse_source(source)
    if kind == "builtin":
        return read_folder(builtin_folder(place, cache))
    if kind == "folder":
        path = Path(place).expanduser()
        if not path.is_dir():
            raise ModelUnavailable(f"no folder {path} on this machine", hint="see source in models.toml")
        return read_folder(path, variant=entry.variant)
    try:
        from workers.models.hub import hub_folder
    except ImportError as error:
        raise ModelUnavailable(f"{source}: {error}", hint="pip install 'promptmill[worker]'") from None
    return hub_folder(place, entry.revision, entry.variant, pull_hint=pull_hint(alias), on_progress=on_progress)
