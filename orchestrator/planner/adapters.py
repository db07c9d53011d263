"""The LoRAs and embeddings of a row or stage: by their canonical names, and whether they fit its model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.planner.defaults import Broken
from schemas.adapters import LoraUse
from schemas.catalogue import ModelEntry
from schemas.errors import SettingsError
from schemas.rows import PipelineName
from services.adapter_shelf import AdapterShelf
from services.catalogue import Catalogue


def planned_loras(loras: Sequence[LoraUse] | None, catalogue: Catalogue) -> tuple[LoraUse, ...]:
    """LoRAs under their canonical names, so that equal rows are planned alike. An unknown name stays as it is."""
    names = catalogue.loras.names
    return tuple(use.model_copy(update={"name": names.get(use.name, use.name)}) for use in loras or ())


def fitting_loras(
    loras: Sequence[LoraUse] | None, catalogue: Catalogue, entry: ModelEntry, pipeline: PipelineName
) -> tuple[LoraUse, ...]:
    """Of a row's LoRAs those that its further stage, with a pipeline of its own, can have as well."""
    entries = catalogue.loras.entries
    found = planned_loras(loras, catalogue)
    return tuple(use for use in found if use.name not in entries or entries[use.name].fits(entry, pipeline))


def misfits(
    given: Mapping[str, Any], alias: str, entry: ModelEntry, pipeline: PipelineName, catalogue: Catalogue
) -> Iterator[Broken]:
    """What is wrong with the LoRAs and embeddings that a row or stage names, as (field, message).

    Args:
        given: its fields.
        alias: its model, canonical.
        entry: the model.
        pipeline: its pipeline.
        catalogue: what there is.
    """
    uses = [use.name for use in given["loras"] or ()]
    for name in uses:
        yield from _misfit("loras", catalogue.loras, name, alias, entry, pipeline)
    canonical = [catalogue.loras.names.get(name, name) for name in uses]
    for name in sorted({name for name in canonical if canonical.count(name) > 1}):
        yield Broken("loras", f"LoRA {name} is named twice, by names of its own", name)
    for name in given["embeddings"] or ():
        yield from _misfit("embeddings", catalogue.embeddings, name, alias, entry, pipeline)


def _misfit(
    field: str, shelf: AdapterShelf[Any], name: str, alias: str, entry: ModelEntry, pipeline: PipelineName
) -> Iterator[Broken]:
    try:
        _, found = shelf.resolve(name)
    except SettingsError as error:
        yield Broken(field, f"{error.message}; `{error.hint}` names all", name)
        return
    if found.fits(entry, pipeline):
        return
    others = [other for other, candidate in shelf if candidate.fits(entry, pipeline)]
    instead = f"; {', '.join(others[:5])} would" if others else ""
    wanted = f"{pipeline} with model {alias}" if found.family == entry.family else f"model {alias} ({entry.family})"
    yield Broken(field, f"{shelf.noun} {name} is for {found.family} and does not fit {wanted}{instead}", name)
