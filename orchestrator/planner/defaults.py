"""What a row and a stage of `then` resolve in the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.catalogue import ModelEntry
from schemas.planned import InputImage, Tiling
from schemas.rows import PipelineName

JPEG_QUALITY = 95


class Broken(NamedTuple):
    """What the model of a row or stage cannot do: the field at fault, and why.

    `value` is what is at fault in it; None: the whole of it.
    """

    field: str
    message: str
    value: object = None


@dataclass(frozen=True)
class PlannedInput:
    """An input image of a row: where the worker finds it, and its size in pixels where that is known."""

    image: InputImage
    size: tuple[int, int] | None


def first(value: Any, default: Any) -> Any:
    """A value, or its default where it is None."""
    return default if value is None else value


def settings(given: Mapping[str, Any], entry: ModelEntry, size: tuple[int | None, int | None]) -> dict[str, Any]:
    """How a row or stage is drawn: its own values, then its model's.

    Args:
        given: its fields.
        entry: its model.
        size: of its output in pixels.
    """
    pipeline = given["pipeline"]
    return {
        "pipeline": pipeline,
        "width": size[0],
        "height": size[1],
        "steps": given["steps"] or entry.default_steps(pipeline),
        "guidance_scale": first(given["guidance_scale"], entry.default_guidance_scale(pipeline)),
        "scheduler": given["scheduler"] or entry.scheduler,
        "clip_skip": given["clip_skip"],
        "strength": strength(given, entry),
        "noise_level": first(given.get("noise_level"), entry.noise_level) if pipeline == "upscale" else None,
        "tiling": tiling(pipeline, entry, size),
    }


def strength(given: Mapping[str, Any], entry: ModelEntry) -> float | None:
    """The strength of a row or stage, or None where its pipeline takes none."""
    defaults: dict[PipelineName, float] = {
        "img2img": entry.strength,
        "depth2img": entry.strength,
        "inpaint": entry.inpaint_strength,
    }
    default = defaults.get(given["pipeline"])
    return None if default is None else first(given.get("strength"), default)


def no_step(steps: int, power: float | None) -> str | None:
    """Why a strength cannot be used with these steps, or None where it can.

    diffusers runs int(steps * strength) steps where an input image is given, and fails on none.
    """
    if power is None or int(steps * power) >= 1:
        return None
    return f"{steps} steps at strength {power} leave no step; at least {1 / steps:.3g} here"


def tiling(pipeline: PipelineName, entry: ModelEntry, size: tuple[int | None, int | None]) -> Tiling | None:
    """How an output of this size (pixels) is made in tiles; None: in one piece.

    Where the size is not known yet, the rule is planned, and dropped once the size turns out to be small.
    """
    width, height = size
    over = entry.tile_pixels
    if not over or (width and height and width * height <= over):
        return None
    if pipeline != "upscale":
        return Tiling(over=over)
    return Tiling(over=over, window=entry.tile_window, overlap=entry.tile_overlap)
