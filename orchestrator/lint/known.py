"""What lint knows of rows that differ only in texts, id, seed and inputs. Found out once for all of them."""

from collections.abc import Iterator
from typing import NamedTuple

from orchestrator.lint.settings import Oddity, odd_settings
from orchestrator.lint.weights import weighted_text
from orchestrator.planner.lines import Prototype
from orchestrator.planner.stages import size_field
from schemas.catalogue import ModelEntry
from schemas.planned import PlannedRow
from schemas.rows import Row, StageBase, stage_field
from services.catalogue import Catalogue


class Known(NamedTuple):
    """What is odd about such rows, and who reads their prompts only up to an end.

    Attributes:
        odd: settings of all stages, and texts of `then`.
        prompt: models, at any stage, that read the beginning of the row's own prompt.
        negative: of its negative prompt.
        texts: prompts that stages of `then` give themselves: field, text, and the model that reads its beginning.
    """

    odd: tuple[Oddity, ...]
    prompt: tuple[str, ...]
    negative: tuple[str, ...]
    texts: tuple[tuple[str, str, str], ...] = ()


def known_of(row: Row, prototype: Prototype, catalogue: Catalogue) -> Known:
    """What a row and all others of its prototype have in common."""
    first, entry = prototype.first, prototype.entry
    odd = odd_settings(first, entry)
    own = () if _reads_all(first, entry) else (first.model,)
    if not row.then:
        return Known(odd, own, own)
    prompt, negative = dict.fromkeys(own), dict.fromkeys(own)
    texts: list[tuple[str, str, str]] = []
    for position, given in enumerate(row.then):
        stage = first.at_stage(position + 1)
        entry = catalogue.entries[stage.model]
        odd += tuple(_odd_stage(position, given, stage, entry))
        if _reads_all(stage, entry):
            continue
        for field, readers in (("prompt", prompt), ("negative_prompt", negative)):
            text = getattr(given, field)
            if text is None:
                readers[stage.model] = None
            elif text:
                texts.append((stage_field(position, field), text, stage.model))
    odd += tuple(oddity for field, text, _ in texts if (oddity := weighted_text(field, text)))
    return Known(odd, tuple(prompt), tuple(negative), tuple(texts))


def _reads_all(stage: PlannedRow, entry: ModelEntry) -> bool:
    return stage.weighting is not None or entry.noise


def _odd_stage(position: int, given: StageBase, stage: PlannedRow, entry: ModelEntry) -> Iterator[Oddity]:
    for oddity in odd_settings(stage, entry):
        field = size_field(given) if oddity.field == "width" else oddity.field
        if field is not None:  # a size that follows from the stage before is odd there
            yield oddity._replace(field=stage_field(position, field))
