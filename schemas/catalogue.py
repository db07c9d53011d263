"""One entry of the model catalogue (`models.toml`), and what a source may look like."""

import re
from typing import Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from schemas.base import Frozen
from schemas.rows import PipelineName, Side
from schemas.samplers import SchedulerName

Family = Literal["sd1", "sd2", "sdxl", "upscaler"]
SourceKind = Literal["builtin", "hub", "folder"]

_BUILTIN = re.compile(r"builtin:[a-z0-9-]+(/[a-z0-9-]+)?")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FOLDER_STARTS = ("/", "./", "../", "~")


class Source(NamedTuple):
    """Where weights lie: `place` is a builtin's name, a hub repository (owner/name) or a folder's path."""

    kind: SourceKind
    place: str


def parse_source(text: str) -> Source:
    """Read a source. A folder's path starts with `/`, `./`, `../` or `~`, so that none looks like a repository.

    Raises:
        ValueError: none of the three.
    """
    if text.startswith(_FOLDER_STARTS) or text in (".", ".."):
        return Source("folder", text)
    if _BUILTIN.fullmatch(text):
        return Source("builtin", text.removeprefix("builtin:"))
    if _HUB.fullmatch(text):
        return Source("hub", text)
    raise ValueError("not a source: owner/name on the hub, a folder (/..., ./..., ~/...) or builtin:NAME")


class ModelEntry(Frozen):
    """Where a model comes from and what it can do. The alias is the table's name in `models.toml`."""

    source: str = Field(description="hub repository (owner/name), local folder, or builtin:NAME")
    sources: dict[PipelineName, str] = Field(
        default_factory=dict,
        description="pipeline -> a source of its own; components that it lacks come from `source`",
    )
    revision: str | None = Field(None, description="commit or branch of the hub repository")
    variant: str | None = Field(None, description="file variant to prefer, e.g. fp16; the plain file where it lacks")
    family: Family
    pipelines: tuple[PipelineName, ...] = Field(min_length=1, description="pipelines it can run")
    width: Side = Field(512, description="native width in pixels")
    height: Side = Field(512, description="native height in pixels")
    steps: int = Field(50, ge=1, le=1000, description="default denoising steps")
    max_useful_steps: int | None = Field(
        None, ge=1, le=1000, description="of a distilled model (turbo, LCM): more steps are a warning"
    )
    guidance_scale: float = Field(7.5, ge=0, le=100, description="default guidance")
    scheduler: SchedulerName | None = Field(None, description="default scheduler; else the model's own")
    strength: float = Field(0.8, gt=0, le=1, description="default strength of img2img and depth2img")
    inpaint_strength: float = Field(1.0, gt=0, le=1, description="default strength of inpaint")
    noise_level: int = Field(20, ge=0, le=350, description="default noise level of upscale")
    upscale_steps: int | None = Field(None, ge=1, le=1000, description="default steps of upscale; else `steps`")
    upscale_guidance_scale: float | None = Field(
        None, ge=0, le=100, description="default guidance of upscale; else `guidance_scale`"
    )
    max_pixels: int = Field(2048 * 2048, ge=64, description="largest output in pixels")
    tile_pixels: int = Field(
        2 * 2**20, ge=0, description="output in pixels above which it is made in tiles, which saves memory; 0: never"
    )
    tile_window: int = Field(288, ge=32, multiple_of=8, description="side of the upscaler's tiles in input pixels")
    tile_overlap: int = Field(32, ge=0, description="least overlap of the upscaler's tiles in input pixels")
    noise: bool = Field(False, description="random weights: what it draws has nothing to do with what is asked")
    gated: bool = Field(False, description="needs HF_TOKEN of an account that accepted its licence")
    aliases: tuple[str, ...] = Field((), description="other names for the same entry")
    note: str = Field("", description="one line for `models list`")

    def default_steps(self, pipeline: PipelineName) -> int:
        """Denoising steps where a row names none."""
        own = self.upscale_steps if pipeline == "upscale" else None
        return self.steps if own is None else own

    def default_guidance_scale(self, pipeline: PipelineName) -> float:
        """Guidance where a row names none."""
        own = self.upscale_guidance_scale if pipeline == "upscale" else None
        return self.guidance_scale if own is None else own

    @field_validator("source")
    @classmethod
    def _source_is_named(cls, value: str) -> str:
        parse_source(value)
        return value

    @field_validator("sources")
    @classmethod
    def _sources_are_named(cls, value: dict[PipelineName, str]) -> dict[PipelineName, str]:
        for source in value.values():
            parse_source(source)
        return value

    @model_validator(mode="after")
    def _upscalers_only_upscale(self) -> "ModelEntry":
        if (self.family == "upscaler") != (self.pipelines == ("upscale",)):
            raise ValueError("family upscaler and pipelines ['upscale'] go together")
        return self

    @model_validator(mode="after")
    def _xl_has_three_pipelines(self) -> "ModelEntry":
        missing = {"upscale", "depth2img"} & set(self.pipelines)
        if self.family == "sdxl" and missing:
            raise ValueError(f"family sdxl has no {' and no '.join(sorted(missing))} in diffusers")
        return self

    @model_validator(mode="after")
    def _sources_are_of_pipelines(self) -> "ModelEntry":
        strangers = sorted(set(self.sources) - set(self.pipelines))
        if strangers:
            raise ValueError(f"sources for {', '.join(strangers)}, which pipelines does not list")
        return self

    @model_validator(mode="after")
    def _a_default_step_remains(self) -> "ModelEntry":
        # diffusers runs int(steps * strength) of the steps where an input image is given.
        for pipeline, strength in (("img2img", self.strength), ("depth2img", self.strength)):
            if pipeline in self.pipelines and int(self.steps * strength) < 1:
                raise ValueError(f"steps {self.steps} x strength {strength} leave {pipeline} no step by default")
        if "inpaint" in self.pipelines and int(self.steps * self.inpaint_strength) < 1:
            raise ValueError(f"steps {self.steps} x inpaint_strength {self.inpaint_strength} leave inpaint no step")
        return self

    @model_validator(mode="after")
    def _tiles_move_on(self) -> "ModelEntry":
        if self.tile_overlap >= self.tile_window:
            raise ValueError(
                f"tile_overlap {self.tile_overlap} leaves tiles of {self.tile_window} nothing of their own"
            )
        return self

    def source_of(self, pipeline: PipelineName) -> str:
        """The source that a pipeline's components come from first."""
        return self.sources.get(pipeline, self.source)


class AdapterEntry(Frozen):
    """What a LoRA and a textual inversion have alike. The name is the table's: `[loras.NAME]`, `[embeddings.NAME]`.

    Weights come from one safetensors file: never from a pickle.
    """

    source: str = Field(description="hub repository (owner/name), local file or folder, or builtin:NAME")
    file: str | None = Field(None, description="file in the repository or folder; needed where it holds several")
    revision: str | None = Field(None, description="commit or branch of the hub repository")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="of the file, checked where it is read")
    family: Family = Field(description="models that it fits")
    aliases: tuple[str, ...] = Field((), description="other names for the same entry")
    trigger: str = Field("", description="words that a prompt needs for it, for people to read")
    note: str = Field("", description="one line for `models list`")

    @field_validator("source")
    @classmethod
    def _source_is_named(cls, value: str) -> str:
        parse_source(value)
        return value

    @field_validator("file")
    @classmethod
    def _file_is_inside(cls, value: str | None) -> str | None:
        if value is not None and (value.startswith("/") or ".." in value.split("/")):
            raise ValueError("a file inside the source, without ..")
        if value is not None and not value.endswith(".safetensors"):
            raise ValueError("safetensors alone are read")
        return value

    @model_validator(mode="after")
    def _a_repository_names_its_file(self) -> "AdapterEntry":
        kind, place = parse_source(self.source)
        if kind == "hub" and self.file is None:
            raise ValueError("file: which one of the hub repository")
        if kind == "folder" and self.file is None and place.endswith((".bin", ".pt", ".ckpt", ".pth")):
            raise ValueError("safetensors alone are read")
        return self

    def fits(self, model: ModelEntry, pipeline: PipelineName) -> bool:
        """Whether a model's pipeline has the networks that it was made for."""
        return self.family == model.family


class LoraEntry(AdapterEntry):
    """A LoRA: small matrices that are added to a model's own."""

    def fits(self, model: ModelEntry, pipeline: PipelineName) -> bool:
        """As above; upscaling is another network, whatever the family of the model that offers it."""
        return self.family == ("upscaler" if pipeline == "upscale" else model.family)


class EmbeddingEntry(AdapterEntry):
    """A textual inversion: a word of its own for the text encoder, named in the prompt."""

    def fits(self, model: ModelEntry, pipeline: PipelineName) -> bool:
        """As above; the x4 upscaler has Stable Diffusion 2's text encoder."""
        return self.family == model.family or (self.family, model.family) == ("sd2", "upscaler")
