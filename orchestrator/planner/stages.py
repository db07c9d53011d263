"""The stages of `then`: each resolved from what it says, the row, and its own model's defaults."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.planner.adapters import fitting_loras, misfits, planned_loras
from orchestrator.planner.defaults import Broken, PlannedInput, first, no_step, settings
from schemas.adapters import LoraUse
from schemas.catalogue import ModelEntry
from schemas.errors import InvalidInput
from schemas.planned import PlannedStage, stage_size
from schemas.rows import PipelineName, RowBase, StageBase, stage_field
from services.catalogue import Catalogue
from services.input_images import check_mask_matches

Size = tuple[int | None, int | None]


@dataclass(frozen=True)
class StageContext:
    """What a stage takes where it gives nothing of its own.

    Attributes:
        model: the row's, by its canonical alias.
        seed: the row's.
        size: output size of the row's own stage in pixels.
    """

    model: str
    seed: int
    size: Size


def resolve_stages(
    row: RowBase, context: StageContext, catalogue: Catalogue, inputs: Mapping[str, PlannedInput]
) -> tuple[PlannedStage, ...]:
    """Resolve every stage of a row's `then`.

    Args:
        row: a valid row, whose stages' models the catalogue has.
        inputs: the masks of the stages by `stage_field`.
    """
    stages: list[PlannedStage] = []
    size = context.size
    for position, stage in enumerate(row.then):
        given = dict(stage)
        alias, entry = catalogue.resolve(given["model"] or context.model)
        size = stage_size(given["pipeline"], given.get("width"), given.get("height"), size)
        mask = inputs.get(stage_field(position, "mask"))
        stages.append(
            PlannedStage(
                model=alias,
                prompt=first(given["prompt"], row.prompt),
                negative_prompt=first(given["negative_prompt"], row.negative_prompt) or "",
                seed=first(given["seed"], context.seed),
                **settings(given, entry, size),
                weighting=given["weighting"] or row.weighting,
                loras=_loras(given["loras"], row, alias == context.model, catalogue, entry, given["pipeline"]),
                embeddings=first(given["embeddings"], row.embeddings if alias == context.model else None) or (),
                mask=mask.image if mask else None,
            )
        )
    return tuple(stages)


def _loras(
    given: Sequence[LoraUse] | None,
    row: RowBase,
    same_model: bool,
    catalogue: Catalogue,
    entry: ModelEntry,
    pipeline: PipelineName,
) -> tuple[LoraUse, ...]:
    """A stage's own LoRAs; else the row's, as far as the stage's network is the one that they were made for."""
    if given is not None:
        return planned_loras(given, catalogue)
    return fitting_loras(row.loras, catalogue, entry, pipeline) if same_model else ()


def stage_limits_broken(
    row: RowBase, context: StageContext, catalogue: Catalogue, inputs: Mapping[str, PlannedInput]
) -> Iterator[Broken]:
    """What the models of the stages cannot do."""
    before = context.size
    for position, stage in enumerate(resolve_stages(row, context, catalogue, inputs)):
        mask = inputs.get(stage_field(position, "mask"))
        for name, message, value in _stage_broken(row.then[position], stage, before, mask, catalogue):
            yield Broken(stage_field(position, name), message, value)
        before = stage.width, stage.height


def _stage_broken(
    given: StageBase, stage: PlannedStage, before: Size, mask: PlannedInput | None, catalogue: Catalogue
) -> Iterator[Broken]:
    entry = catalogue.entries[stage.model]
    if stage.width and stage.height and stage.width * stage.height > entry.max_pixels:
        yield Broken(size_field(given) or "pipeline", _too_large(stage, entry))
    yield from misfits(dict(given), stage.model, entry, stage.pipeline, catalogue)
    problem = no_step(stage.steps, stage.strength)
    if problem:
        yield Broken("strength", problem)
    if mask is not None and mask.size is not None and before[0] and before[1]:
        try:
            check_mask_matches((before[0], before[1]), mask.size)
        except InvalidInput as error:
            yield Broken("mask", error.message)


def size_field(given: StageBase) -> str | None:
    """What of a stage has decided its size, or whether that is a good one; None: all that was before it."""
    return next((name for name in ("width", "height", "model") if getattr(given, name, None)), None)


def _too_large(stage: PlannedStage, entry: ModelEntry) -> str:
    size = f"{stage.width} x {stage.height}"
    return f"the output would be {size}; the limit of model {stage.model} is {entry.max_pixels:,} pixels"
