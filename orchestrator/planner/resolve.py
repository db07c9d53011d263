"""One row as authored to one row as planned."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.catalogue import ModelEntry
from schemas.planned import UPSCALE_FACTOR, InputImage, PlannedRow
from schemas.rows import PipelineName, RowBase, default_row_id
from services.catalogue import Catalogue
from services.input_images import working_size

JPEG_QUALITY = 95


@dataclass(frozen=True)
class PlannedInput:
    """An input image of a row: where the worker finds it, and its size in pixels where that is known."""

    image: InputImage
    size: tuple[int, int] | None


def derived_seed(job: str, row_id: str) -> int:
    """The seed of a row that gives none: 32 bits of a hash of job and row, so that planning again gives it again."""
    digest = hashlib.blake2b(f"{job}\0{row_id}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def resolve(
    row: RowBase,
    *,
    index: int,
    job: str,
    catalogue: Catalogue,
    inputs: Mapping[str, PlannedInput],
    coordinates: Mapping[str, Any] | None = None,
) -> PlannedRow:
    """Resolve every default of a row: the row's own value, then the model's.

    Args:
        row: a valid row, with a model that the catalogue has.
        index: its position in the manifest, from 0.
        job: the job's id, from which a missing seed is derived.
        inputs: `image` and `mask` of the row, where its pipeline takes them.
        coordinates: where a swept row stands in its parameter space.
    """
    given = dict(row)
    alias, entry = catalogue.resolve(given["model"])
    row_id = given["id"] or default_row_id(index)
    width, height = output_size(given, entry, inputs.get("image"))
    file_format = given["format"] or "png"
    return PlannedRow(
        index=index,
        id=row_id,
        pipeline=given["pipeline"],
        model=alias,
        prompt=given["prompt"],
        negative_prompt=given["negative_prompt"] or "",
        width=width,
        height=height,
        steps=given["steps"] or entry.steps,
        guidance_scale=_first(given["guidance_scale"], entry.guidance_scale),
        seed=_first(given["seed"], derived_seed(job, row_id)),
        scheduler=given["scheduler"] or entry.scheduler,
        num_images=given["num_images"] or 1,
        clip_skip=given["clip_skip"],
        weighting=given["weighting"],
        loras=given["loras"] or (),
        embeddings=given["embeddings"] or (),
        image=inputs["image"].image if "image" in inputs else None,
        mask=inputs["mask"].image if "mask" in inputs else None,
        strength=strength(given, entry),
        noise_level=_first(given.get("noise_level"), entry.noise_level) if given["pipeline"] == "upscale" else None,
        format=file_format,
        quality=_first(given["quality"], JPEG_QUALITY if file_format == "jpeg" else None),
        extra=given["extra"],
        coordinates=coordinates or {},
    )


def strength(given: Mapping[str, Any], entry: ModelEntry) -> float | None:
    """The strength of a row, or None where its pipeline takes none."""
    defaults: dict[PipelineName, float] = {
        "img2img": entry.strength,
        "depth2img": entry.strength,
        "inpaint": entry.inpaint_strength,
    }
    default = defaults.get(given["pipeline"])
    return None if default is None else _first(given.get("strength"), default)


def output_size(
    given: Mapping[str, Any], entry: ModelEntry, image: PlannedInput | None
) -> tuple[int | None, int | None]:
    """Output size in pixels; None for a side that an input of unknown size decides."""
    if given["pipeline"] == "txt2img":
        return given["width"] or entry.width, given["height"] or entry.height
    if given["pipeline"] == "upscale":
        if image is None or image.size is None:
            return None, None
        width, height = working_size(*image.size)
        return width * UPSCALE_FACTOR, height * UPSCALE_FACTOR
    if image is None or image.size is None:
        return given["width"], given["height"]
    width, height = working_size(*image.size)
    return given["width"] or width, given["height"] or height


def limits_broken(given: Mapping[str, Any], entry: ModelEntry, image: PlannedInput | None) -> Iterator[tuple[str, str]]:
    """What the model cannot do, as (field, message)."""
    width, height = output_size(given, entry, image)
    if width and height and width * height > entry.max_pixels:
        field = "image" if given["pipeline"] == "upscale" else "width"
        yield field, f"the output would be {width} x {height}; this model's limit is {entry.max_pixels:,} pixels"
    for name in ("weighting", "loras", "embeddings"):
        if given[name]:
            yield name, "no worker renders this yet"
    power = strength(given, entry)
    steps = given["steps"] or entry.steps
    if power is not None and int(steps * power) < 1:
        # diffusers runs int(steps * strength) steps where an input image is given, and fails on none.
        yield "strength", f"{steps} steps at strength {power} leave no step; at least {1 / steps:.3g} here"


def _first(value: Any, default: Any) -> Any:
    return default if value is None else value
