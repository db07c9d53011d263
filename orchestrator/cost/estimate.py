"""From what a plan holds and what earlier jobs took to time, money, storage and requests."""

import math
from collections.abc import Mapping

from pydantic import Field

from orchestrator.cost.measured import Measured
from orchestrator.gallery import PAGE_IMAGES
from schemas.base import Frozen
from schemas.job import Totals

# Bytes per pixel where nothing was measured. Photographs of 512 x 512 in PNG come to 400 to 500 KB, lossless WebP to
# three quarters of that, JPEG at quality 95 to a quarter: round figures, and called assumed where they are shown.
ASSUMED_BYTES = {"png": 1.8, "webp lossless": 1.3, "jpeg": 0.45, "webp": 0.25}
PIECE_SECONDS = 30
"""A worker writes a piece at the end of a task, and after so much work."""
# submission, two claims, manifest, task table, job.json, metadata.parquet, summary.json
_OBJECTS_OF_A_JOB = 8


class Prices(Frozen):
    """What the user says about the machines."""

    units_per_second: float | None = Field(None, gt=0, description="of one device")
    price_per_hour: float | None = Field(None, ge=0, description="of one device, in any currency")
    workers: int | None = Field(None, ge=1, description="devices that render at the same time")


class CostEstimate(Frozen):
    """What a job is expected to cost. None: not known; `*_source` says where a figure comes from."""

    units: float
    units_by_model: dict[str, float]
    unknown_sizes: int = Field(description="rows that count as 512 x 512 until a worker sees their input")
    gpu_seconds: float | None = Field(description="of one device, denoising alone")
    speed_source: str
    wall_seconds: float | None = Field(description="on `workers` devices")
    workers: int | None
    price: float | None = Field(description="gpu_seconds at the price per hour")
    bytes: int = Field(description="of all images")
    bytes_source: str
    puts: int = Field(description="objects that are written, about")


def estimate(
    totals: Totals,
    units: Mapping[str, float],
    pixels: Mapping[str, int],
    unknown_sizes: int,
    measured: Measured,
    prices: Prices,
) -> CostEstimate:
    """What a plan will cost.

    Args:
        units: model -> units.
        pixels: kind of file -> pixels of all images.
        unknown_sizes: rows whose size is not known.
        measured: what earlier jobs took.
        prices: what the user says; it goes before what was measured.
    """
    seconds, speed_source = _gpu_seconds(units, measured, prices)
    size, bytes_source = _bytes(pixels, measured)
    images = totals.images + totals.earlier_images
    pieces = max(totals.tasks, math.ceil((seconds or 0) / PIECE_SECONDS))
    pages = max(math.ceil(images / PAGE_IMAGES), 1)
    parts = totals.parts or math.ceil(images / 1000)
    return CostEstimate(
        units=totals.units,
        units_by_model={model: round(cost, 6) for model, cost in units.items()},
        unknown_sizes=unknown_sizes,
        gpu_seconds=seconds,
        speed_source=speed_source,
        wall_seconds=seconds / prices.workers if seconds is not None and prices.workers else None,
        workers=prices.workers,
        price=seconds / 3600 * prices.price_per_hour if seconds is not None and prices.price_per_hour else None,
        bytes=size,
        bytes_source=bytes_source,
        puts=images + pieces + parts + pages + _OBJECTS_OF_A_JOB,
    )


def _gpu_seconds(units: Mapping[str, float], measured: Measured, prices: Prices) -> tuple[float | None, str]:
    if prices.units_per_second:
        rate = prices.units_per_second
        return sum(units.values()) / rate, f"at {rate:g} units/s, as given"
    rates = {model: measured.units_per_second(model) for model in units}
    unknown = [model for model, rate in rates.items() if rate is None]
    if unknown:
        told = f"no speed is known of {', '.join(unknown)}: --units-per-second gives it" if units else ""
        return None, told
    seconds = sum(cost / (rates[model] or 1) for model, cost in units.items())
    rate = sum(units.values()) / seconds if seconds else 0
    noun = "job" if measured.jobs == 1 else "jobs"
    return seconds, f"at {rate:.3g} units/s, measured in {measured.jobs} {noun} {measured.place}"


def _bytes(pixels: Mapping[str, int], measured: Measured) -> tuple[int, str]:
    total = 0.0
    told: dict[str, list[str]] = {"measured": [], "assumed": []}
    for kind, count in pixels.items():
        known = measured.bytes_per_pixel(kind)
        each = known or ASSUMED_BYTES.get(kind) or ASSUMED_BYTES[kind.partition(" ")[0]]
        total += count * each
        told["measured" if known else "assumed"].append(f"{each:.2g} of {kind}")
    parts = [f"{', '.join(each)} ({how})" for how, each in told.items() if each]
    return round(total), f"bytes/pixel: {', '.join(parts)}"
