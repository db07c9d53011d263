"""Which models, LoRAs and embeddings a command means."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from schemas.catalogue import AdapterEntry, ModelEntry
from schemas.errors import SettingsError
from services.catalogue import LIST_HINT, Catalogue
from workers.models.adapter_files import AdapterKind

Adapter = tuple[AdapterKind, str, AdapterEntry]


def all_adapters(catalogue: Catalogue) -> Iterator[Adapter]:
    """Every LoRA, then every embedding."""
    yield from (("lora", name, entry) for name, entry in catalogue.loras)
    yield from (("embedding", name, entry) for name, entry in catalogue.embeddings)


def chosen(catalogue: Catalogue, names: Sequence[str]) -> tuple[list[tuple[str, ModelEntry]], list[Adapter]]:
    """What these names mean; without any, all there is. A name can be a model's and a LoRA's: both are meant.

    Raises:
        SettingsError: a name that means nothing; the message gives near ones.
    """
    if not names:
        return list(catalogue), list(all_adapters(catalogue))
    models: list[tuple[str, ModelEntry]] = []
    adapters: list[Adapter] = []
    for name in dict.fromkeys(names):
        before = len(models) + len(adapters)
        if name in catalogue.names:
            models.append(catalogue.resolve(name))
        if name in catalogue.loras.names:
            adapters.append(("lora", *catalogue.loras.resolve(name)))
        if name in catalogue.embeddings.names:
            adapters.append(("embedding", *catalogue.embeddings.resolve(name)))
        if len(models) + len(adapters) == before:
            raise _unknown(catalogue, name)
    return models, adapters


def sources_of(entry: ModelEntry) -> tuple[str, ...]:
    """Every source of a model, once."""
    return tuple(dict.fromkeys((entry.source, *entry.sources.values())))


def _unknown(catalogue: Catalogue, name: str) -> SettingsError:
    known = (catalogue.names, catalogue.loras.names, catalogue.embeddings.names)
    lowered = {each.lower(): each for names in known for each in names}
    near = [lowered[each] for each in get_close_matches(name.lower(), lowered, n=3, cutoff=0.6)]
    guess = f"; did you mean {' or '.join(near)}?" if near else ""
    return SettingsError(f"no model, LoRA or embedding {name!r} in the catalogue{guess}", hint=LIST_HINT)
