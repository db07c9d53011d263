"""A row as planned: every default resolved, the seed and the id fixed. This is what a worker renders."""

from typing import Any

from pydantic import Field

from schemas.adapters import AdapterName, LoraUse, Weighting
from schemas.base import Frozen, Versioned
from schemas.rows import ImageFormat, ModelAlias, PipelineName, RowId
from schemas.samplers import SchedulerName
from schemas.units import units

UPSCALE_FACTOR = 4


class InputImage(Frozen):
    """An input image. Uploaded ones are named by their hash; `s3://` addresses are read by the worker."""

    address: str = Field(description="object key below the prefix, or s3://bucket/key")
    sha256: str | None = Field(None, description="hex digest of the file's bytes; None: not read yet")


class PlannedRow(Versioned):
    """One row of the plan. Sizes are output pixels; None only where an `s3://` input decides them."""

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
    format: ImageFormat = "png"
    quality: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    coordinates: dict[str, Any] = Field(
        default_factory=dict, description="where a swept row stands in its parameter space: name -> value"
    )

    def batch_key(self) -> tuple[object, ...]:
        """Rows with equal keys can share one denoising loop."""
        return (
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
        )

    def units(self) -> float:
        """Cost of all images of the row; an unknown size counts as 512 x 512."""
        return units(self.width or 512, self.height or 512, self.steps, self.num_images)

    def recipe(self) -> dict[str, Any]:
        """What made the image and nothing else: no place in a job or a sweep, no columns of the user's own."""
        unused = {name for name in ("loras", "embeddings") if not getattr(self, name)}
        return self.model_dump(mode="json", exclude={"index", "extra", "coordinates"} | unused, exclude_none=True)
