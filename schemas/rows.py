"""A row as authored: what a user may write in a manifest. Nothing is resolved yet; see `schemas.planned`.

The field names are those of diffusers (`guidance_scale`, `num_images` for `num_images_per_prompt`, ...).
Limits are diffusers' own (sizes in pixels, multiples of the VAE's factor 8) or, where it has none, generous.

A row's pipeline is its stage 0. `then` adds stages: each takes the image of the stage before it as its input.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, TypeAdapter

from schemas.adapters import EmbeddingNames, LoraUses, Weighting
from schemas.base import Frozen
from schemas.samplers import SchedulerName

PipelineName = Literal["txt2img", "img2img", "inpaint", "upscale", "depth2img"]
PIPELINES: tuple[PipelineName, ...] = get_args(PipelineName)
# What can go on from an image.
StagePipeline = Literal["img2img", "inpaint", "upscale", "depth2img"]
ImageFormat = Literal["png", "jpeg", "webp"]
Keep = Literal["all", "last"]

MAX_THEN = 8  # stages of a row after its own
MAX_PROMPT = 20_000
MAX_SEED = 2**63 - 100  # the last of a row's 100 images has a signed 64-bit seed still

# A row id names files on the user's machine: letters of any script, digits and a few marks, no path, no dot first;
# no dot or space last, which Windows drops.
ID_PATTERN = r"^[^\W_](?:[\w .@+=,()#-]*[\w@+=,()#-])?$"
RowId = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=ID_PATTERN)]
ModelAlias = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT)]
MAX_SIDE = 8192
Side = Annotated[int, Field(ge=8, le=MAX_SIDE, multiple_of=8)]
Strength = Annotated[float, Field(gt=0, le=1)]
ImageAddress = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class StageBase(Frozen):
    """What every stage of `then` takes. None means: as the row has it for what is drawn, else the model's default."""

    prompt: Prompt | None = Field(None, description="what to draw; default: the row's")
    negative_prompt: Prompt | None = Field(None, description="what to avoid; default: the row's")
    model: ModelAlias | None = Field(None, description="alias from the catalogue; default: the row's")
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps")
    guidance_scale: float | None = Field(None, ge=0, le=100, description="classifier-free guidance; up to 1 is off")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="of image 0; default: the row's")
    scheduler: SchedulerName | None = Field(None, description="sampler, by the field's name")
    clip_skip: int | None = Field(None, ge=0, le=11, description="text encoder layers left out")
    weighting: Weighting | None = Field(None, description="how weights stand in the prompts; default: the row's")
    loras: LoraUses | None = Field(None, description="default: the row's, where the stage has the row's model")
    embeddings: EmbeddingNames | None = Field(
        None, description="default: the row's, where the stage has the row's model"
    )


class Img2ImgStage(StageBase):
    """Draws the image again. With width and height it is first resized to them, stretched."""

    pipeline: Literal["img2img"]
    width: Side | None = Field(None, description="pixels, a multiple of 8; default: the image's")
    height: Side | None = Field(None, description="pixels, a multiple of 8; default: the image's")
    strength: Strength | None = Field(None, description="0..1: how much of the image is replaced by noise")


class InpaintStage(StageBase):
    """Redraws the white part of a mask. The mask has the size of the image that comes from the stage before."""

    pipeline: Literal["inpaint"]
    mask: ImageAddress = Field(description="mask of the image's size, a local file or s3://; white is redrawn")
    width: Side | None = Field(None, description="pixels, a multiple of 8; default: the image's")
    height: Side | None = Field(None, description="pixels, a multiple of 8; default: the image's")
    strength: Strength | None = Field(None, description="0..1: how much of the image is replaced by noise")


class UpscaleStage(StageBase):
    """Upscales the image by the model's factor (4)."""

    pipeline: Literal["upscale"]
    noise_level: int | None = Field(None, ge=0, le=350, description="noise added to the image before upscaling")


class Depth2ImgStage(StageBase):
    """Keeps the image's layout (its estimated depth) and redraws the rest."""

    pipeline: Literal["depth2img"]
    width: Side | None = Field(None, description="pixels, a multiple of 8; default: the image's")
    height: Side | None = Field(None, description="pixels, a multiple of 8; default: the image's")
    strength: Strength | None = Field(None, description="0..1: how much of the image is replaced by noise")


Stage = Annotated[Img2ImgStage | InpaintStage | UpscaleStage | Depth2ImgStage, Field(discriminator="pipeline")]
STAGE_TYPES: dict[StagePipeline, type[StageBase]] = {
    "img2img": Img2ImgStage,
    "inpaint": InpaintStage,
    "upscale": UpscaleStage,
    "depth2img": Depth2ImgStage,
}


class RowBase(Frozen):
    """What every pipeline takes. None means: the job's default, then the model's."""

    id: RowId | None = Field(
        None,
        description="name of the row and its files, unique in the job; default: its number from 0, as 000000",
        # Numbers are the usual names of rows in tables and JSON.
        coerce_numbers_to_str=True,
    )
    prompt: Prompt = Field("", description="what to draw, in any script")
    negative_prompt: Prompt | None = Field(None, description="what to avoid")
    model: ModelAlias | None = Field(None, description="alias from `promptmill models list`; needed, here or by --set")
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps; default: the model's")
    guidance_scale: float | None = Field(
        None, ge=0, le=100, description="classifier-free guidance; up to 1 is off; default: the model's"
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="of image 0; image k uses seed + k; default: derived from job and row id"
    )
    scheduler: SchedulerName | None = Field(None, description="sampler; default: the model's own")
    num_images: int | None = Field(None, ge=1, le=100, description="images of this row; default: 1")
    clip_skip: int | None = Field(None, ge=0, le=11, description="text encoder layers left out; default: none")
    weighting: Weighting | None = Field(
        None, description="how weights stand in the prompts, which are then read beyond 77 tokens; default: plain text"
    )
    loras: LoraUses | None = Field(None, description="LoRAs of the catalogue, each with its weight; default: none")
    embeddings: EmbeddingNames | None = Field(
        None, description="textual inversions of the catalogue that the prompts name; default: none"
    )
    format: ImageFormat | None = Field(None, description="file format; default: png")
    quality: int | None = Field(None, ge=1, le=100, description="of jpeg (default 95) and webp (lossless without it)")
    then: tuple[Stage, ...] = Field(
        (), max_length=MAX_THEN, description="stages that go on from each image of the row, one after the other"
    )
    keep: Keep | None = Field(None, description="which stages' images are kept: last (default) or all")
    extra: dict[str, Any] = Field(default_factory=dict, description="columns that are not ours, carried to the results")


class Txt2Img(RowBase):
    """Text to image."""

    pipeline: Literal["txt2img"] = "txt2img"
    prompt: Annotated[Prompt, StringConstraints(pattern=r"\S")] = Field(description="what to draw, in any script")
    width: Side | None = Field(None, description="pixels, a multiple of 8; default: the model's or the input's")
    height: Side | None = Field(None, description="pixels, a multiple of 8; default: the model's or the input's")


class Img2Img(RowBase):
    """Image and text to image. Without width and height the input's own size counts, cut to multiples of 8."""

    pipeline: Literal["img2img"]
    image: ImageAddress = Field(description="input image: a local file, s3://bucket/key or https://")
    width: Side | None = Field(None, description="pixels, a multiple of 8")
    height: Side | None = Field(None, description="pixels, a multiple of 8")
    strength: Strength | None = Field(None, description="how much of the input is replaced; default: the model's")


class Inpaint(RowBase):
    """Redraws the white part of the mask. The mask has the size of the image."""

    pipeline: Literal["inpaint"]
    image: ImageAddress = Field(description="input image: a local file, s3://bucket/key or https://")
    mask: ImageAddress = Field(description="mask of the image's size; white is redrawn")
    width: Side | None = Field(None, description="pixels, a multiple of 8")
    height: Side | None = Field(None, description="pixels, a multiple of 8")
    strength: Strength | None = Field(None, description="how much of the input is replaced; default: the model's")


class Upscale(RowBase):
    """Text-guided upscaling by the model's factor (4). The output's size follows from the input's."""

    pipeline: Literal["upscale"]
    image: ImageAddress = Field(description="low-resolution image: a local file, s3://bucket/key or https://")
    noise_level: int | None = Field(
        None, ge=0, le=350, description="noise added to the input before upscaling; default: the model's"
    )


class Depth2Img(RowBase):
    """Keeps the layout of the input (its estimated depth) and redraws the rest."""

    pipeline: Literal["depth2img"]
    image: ImageAddress = Field(description="input image: a local file, s3://bucket/key or https://")
    width: Side | None = Field(None, description="pixels, a multiple of 8")
    height: Side | None = Field(None, description="pixels, a multiple of 8")
    strength: Strength | None = Field(None, description="how much of the input is replaced; default: the model's")


Row = Annotated[Txt2Img | Img2Img | Inpaint | Upscale | Depth2Img, Field(discriminator="pipeline")]
ROW_TYPES: dict[PipelineName, type[RowBase]] = {
    "txt2img": Txt2Img,
    "img2img": Img2Img,
    "inpaint": Inpaint,
    "upscale": Upscale,
    "depth2img": Depth2Img,
}
ROW_ADAPTER: TypeAdapter[Txt2Img | Img2Img | Inpaint | Upscale | Depth2Img] = TypeAdapter(Row)
# Every name that a manifest may use for a field of ours, whatever the pipeline.
FIELD_NAMES: frozenset[str] = frozenset(name for row in ROW_TYPES.values() for name in row.model_fields)


def default_row_id(index: int) -> str:
    """The id of a row that gives none: its position in the manifest, from 0, zero-padded as in its object keys."""
    return f"{index:06d}"


def stage_field(position: int, field: str = "") -> str:
    """How a field of a stage is named where a name is needed: `then[1].strength`. Positions count from 0."""
    return f"then[{position}]{'.' if field else ''}{field}"
