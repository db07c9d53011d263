"""One row as authored to one row as planned."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.planner.adapters import misfits, planned_loras
from orchestrator.planner.defaults import JPEG_QUALITY, Broken, PlannedInput, first, no_step, settings, strength
from orchestrator.planner.stages import StageContext, resolve_stages, stage_limits_broken
from schemas.catalogue import ModelEntry
from schemas.planned import UPSCALE_FACTOR, PlannedRow
from schemas.rows import RowBase, default_row_id
from services.catalogue import Catalogue
from services.input_images import working_size


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
        inputs: `image` and `mask` of the row, where its pipeline takes them, and `then[N].mask` of its stages.
        coordinates: where a swept row stands in its parameter space.
    """
    given = dict(row)
    alias, entry = catalogue.resolve(given["model"])
    row_id = given["id"] or default_row_id(index)
    size = output_size(given, entry, inputs.get("image"))
    seed = first(given["seed"], derived_seed(job, row_id))
    return PlannedRow(
        index=index,
        id=row_id,
        model=alias,
        seed=seed,
        num_images=given["num_images"] or 1,
        **settings(given, entry, size),
        **_drawn(given, catalogue),
        image=inputs["image"].image if "image" in inputs else None,
        mask=inputs["mask"].image if "mask" in inputs else None,
        then=resolve_stages(row, StageContext(alias, seed, size), catalogue, inputs) if row.then else (),
        **_kept(given),
        extra=given["extra"],
        coordinates=coordinates or {},
    )


def _drawn(given: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """What is drawn."""
    return {
        "prompt": given["prompt"],
        "negative_prompt": given["negative_prompt"] or "",
        "weighting": given["weighting"],
        "loras": planned_loras(given["loras"], catalogue),
        "embeddings": given["embeddings"] or (),
    }


def _kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """Which images are kept, and as what files."""
    file_format = given["format"] or "png"
    quality = first(given["quality"], JPEG_QUALITY if file_format == "jpeg" else None)
    return {"keep": given["keep"] or "last", "format": file_format, "quality": quality}


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


def limits_broken(row: RowBase, *, catalogue: Catalogue, inputs: Mapping[str, PlannedInput]) -> Iterator[Broken]:
    """What the models of a row and of its stages cannot do. Arguments as in `resolve`."""
    given = dict(row)
    alias, entry = catalogue.resolve(given["model"])
    width, height = output_size(given, entry, inputs.get("image"))
    if width and height and width * height > entry.max_pixels:
        field = "image" if given["pipeline"] == "upscale" else "width"
        limit = f"this model's limit is {entry.max_pixels:,} pixels"
        yield Broken(field, f"the output would be {width} x {height}; {limit}")
    yield from misfits(given, alias, entry, given["pipeline"], catalogue)
    problem = no_step(given["steps"] or entry.default_steps(given["pipeline"]), strength(given, entry))
    if problem:
        yield Broken("strength", problem)
    if row.then:
        yield from stage_limits_broken(row, StageContext(alias, 0, (width, height)), catalogue, inputs)
