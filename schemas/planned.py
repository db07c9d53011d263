"""A row as planned: every default resolved, the seed and the id fixed. This is what a worker renders.

A row has one stage or more. Stage 0 is the row's own pipeline; each further one (`then`) takes the image of the
stage before it. Sizes are output pixels; None only where an `s3://` input decides them, and then for every stage
after it that does not name its own.
"""

from typing import Any

from pydantic import Field

from schemas.adapters import AdapterName, LoraUse, Weighting
from schemas.base import Frozen, Versioned
from schemas.rows import ImageFormat, Keep, ModelAlias, PipelineName, RowId
from schemas.samplers import SchedulerName
from schemas.units import units

UPSCALE_FACTOR = 4
# What an unknown size counts as.
USUAL_SIDE = 512


class InputImage(Frozen):
    """An input image. Uploaded ones are named by their hash; `s3://` addresses are read by the worker."""

    address: str = Field(description="object key below the prefix, or s3://bucket/key")
    sha256: str | None = Field(None, description="hex digest of the file's bytes; None: not read yet")


class Tiling(Frozen):
    """How an image too large for one piece is made in overlapping ones. Part of the recipe: it changes pixels."""

    over: int = Field(ge=0, description="output pixels (width times height) above which it applies")
    window: int | None = Field(None, description="side of the upscaler's windows, input pixels; None: VAE tiles alone")
    overlap: int = Field(0, ge=0, description="least overlap of two windows, input pixels")


class PlannedStage(Frozen):
    """One stage of `then`, resolved. `width` and `height` are its output's, in pixels."""

    pipeline: PipelineName
    model: ModelAlias
    prompt: str
    negative_prompt: str = ""
    width: int | None
    height: int | None
    steps: int
    guidance_scale: float
    seed: int
    scheduler: SchedulerName | None = Field(description="None: the model's own")
    clip_skip: int | None = None
    weighting: Weighting | None = None
    loras: tuple[LoraUse, ...] = ()
    embeddings: tuple[AdapterName, ...] = ()
    mask: InputImage | None = None
    strength: float | None = None
    noise_level: int | None = None
    tiling: Tiling | None = None


class PlannedRow(Versioned):
    """One row of the plan."""

    index: int = Field(ge=0, description="position in the manifest, from 0")
    id: RowId
    pipeline: PipelineName
    model: ModelAlias
    prompt: str
    negative_prompt: str = ""
    width: int | None
    height: int | None
    steps: int
    guidance_scale: float
    seed: int
    scheduler: SchedulerName | None = Field(description="None: the model's own")
    num_images: int = 1
    clip_skip: int | None = None
    weighting: Weighting | None = Field(None, description="None: the prompts are plain text")
    loras: tuple[LoraUse, ...] = ()
    embeddings: tuple[AdapterName, ...] = ()
    image: InputImage | None = None
    mask: InputImage | None = None
    strength: float | None = None
    noise_level: int | None = None
    tiling: Tiling | None = Field(None, description="None: in one piece")
    then: tuple[PlannedStage, ...] = Field((), description="further stages, in order")
    keep: Keep = Field("last", description="which stages' images are kept")
    format: ImageFormat = "png"
    quality: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    coordinates: dict[str, Any] = Field(
        default_factory=dict, description="where a swept row stands in its parameter space: name -> value"
    )

    def batch_key(self) -> tuple[object, ...]:
        """Rows with equal keys can share one denoising loop, at every stage."""
        own = (
            self.model,
            self.pipeline,
            self.width,
            self.height,
            self.steps,
            self.scheduler,
            self.guidance_scale,
            self.strength,
            self.noise_level,
            self.clip_skip,
            self.loras,
            self.embeddings,
            self.tiling,
        )
        return own if not self.then else (*own, *(self.at_stage(n).batch_key() for n in range(1, self.stage_count)))

    @property
    def stage_count(self) -> int:
        """Stages in all, at least 1."""
        return 1 + len(self.then)

    def stages(self) -> tuple[tuple[PipelineName, ModelAlias], ...]:
        """Pipeline and model of every stage: rows of one task have the same ones."""
        own = (self.pipeline, self.model)
        return (own, *((stage.pipeline, stage.model) for stage in self.then)) if self.then else (own,)

    def at_stage(self, number: int) -> "PlannedRow":
        """One stage as a row of its own: what is rendered there and nothing of the others.

        Its `image` is stage 0's alone; a later stage takes what the one before it made.
        """
        if number == 0:
            return self.model_copy(update={"then": (), "keep": "last"}) if self.then else self
        stage = self.then[number - 1]
        fields = {name: getattr(stage, name) for name in PlannedStage.model_fields}
        return self.model_copy(update=fields | {"image": None, "then": (), "keep": "last"})

    def sized(self, width: int | None, height: int | None) -> "PlannedRow":
        """The row with its own output size known, in pixels, and with it that of every stage."""
        stages = []
        before: tuple[int | None, int | None] = (width, height)
        for stage in self.then:
            before = stage_size(stage.pipeline, stage.width, stage.height, before)
            tiling = _applied(stage.tiling, before)
            stages.append(stage.model_copy(update={"width": before[0], "height": before[1], "tiling": tiling}))
        own = {"width": width, "height": height, "tiling": _applied(self.tiling, (width, height))}
        return self.model_copy(update=own | {"then": tuple(stages)})

    def units(self) -> float:
        """Cost of all images of the row, over all stages; an unknown size counts as 512 x 512."""
        if not self.then:
            return units(self.width or USUAL_SIDE, self.height or USUAL_SIDE, self.steps, self.num_images)
        row = self.sized(self.width or USUAL_SIDE, self.height or USUAL_SIDE)
        return sum(row.at_stage(number).units() for number in range(row.stage_count))

    def kept_images(self) -> int:
        """Images that the row comes to: those of the last stage, and of the earlier ones where they are kept."""
        return self.num_images * (self.stage_count if self.keep == "all" else 1)

    def line(self) -> bytes:
        """The row's line in the plan: JSON with what is not a default."""
        return self.model_dump_json(exclude_defaults=True).encode() + b"\n"

    def recipe(self, stage: int | None = None) -> dict[str, Any]:
        """What made the image and nothing else: no place in a job or a sweep, no columns of the user's own.

        Args:
            stage: the stage that made it: later ones are left out. None: the last one.
        """
        then = self.then if stage is None else self.then[:stage]
        row = self if len(then) == len(self.then) else self.model_copy(update={"then": then})
        found = row.model_dump(mode="json", exclude={"index", "extra", "coordinates", "keep"}, exclude_none=True)
        for made_by in (found, *found["then"]):
            for name in ("loras", "embeddings", "then"):
                if not made_by.get(name):
                    made_by.pop(name, None)
        return found


def stage_size(
    pipeline: PipelineName, width: int | None, height: int | None, before: tuple[int | None, int | None]
) -> tuple[int | None, int | None]:
    """Output size of a stage of `then` in pixels, or None where it is not known yet.

    Args:
        pipeline: the stage's.
        width, height: what it asks for.
        before: output size of the stage before it.
    """
    if pipeline == "upscale":
        return tuple(side and side * UPSCALE_FACTOR for side in before)  # type: ignore[return-value]
    return width or before[0], height or before[1]


def _applied(tiling: Tiling | None, size: tuple[int | None, int | None]) -> Tiling | None:
    """A rule that a known size turns out to be too small for is none."""
    width, height = size
    return tiling if tiling is None or not width or not height or width * height > tiling.over else None
