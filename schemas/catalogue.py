"""One entry of the model catalogue (`models.toml`)."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from schemas.base import Frozen
from schemas.rows import PipelineName, Side
from schemas.samplers import SchedulerName

Family = Literal["sd1", "sd2", "sdxl", "upscaler"]


class ModelEntry(Frozen):
    """Where a model comes from and what it can do. The alias is the table's name in `models.toml`."""

    source: str = Field(description="hub repository (owner/name), local folder, or builtin:NAME")
    revision: str | None = Field(None, description="commit or branch of the hub repository")
    variant: str | None = Field(None, description="file variant on the hub, e.g. fp16")
    family: Family
    pipelines: tuple[PipelineName, ...] = Field(min_length=1, description="pipelines it can run")
    width: Side = Field(512, description="native width in pixels")
    height: Side = Field(512, description="native height in pixels")
    steps: int = Field(50, ge=1, le=1000, description="default denoising steps")
    guidance_scale: float = Field(7.5, ge=0, le=100, description="default guidance")
    scheduler: SchedulerName | None = Field(None, description="default scheduler; else the model's own")
    strength: float = Field(0.8, gt=0, le=1, description="default strength of img2img and depth2img")
    inpaint_strength: float = Field(1.0, gt=0, le=1, description="default strength of inpaint")
    noise_level: int = Field(20, ge=0, le=350, description="default noise level of upscale")
    max_pixels: int = Field(2048 * 2048, ge=64, description="largest output in pixels")
    gated: bool = Field(False, description="needs HF_TOKEN of an account that accepted its licence")
    aliases: tuple[str, ...] = Field((), description="other names for the same entry")
    note: str = Field("", description="one line for `models list`")

    @field_validator("source")
    @classmethod
    def _source_is_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a hub repository, a local folder or builtin:NAME")
        return value

    @model_validator(mode="after")
    def _upscalers_only_upscale(self) -> "ModelEntry":
        if (self.family == "upscaler") != (self.pipelines == ("upscale",)):
            raise ValueError("family upscaler and pipelines ['upscale'] go together")
        return self
