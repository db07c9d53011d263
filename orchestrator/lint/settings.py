"""Settings that a model takes but was not made for. Asked once for rows with the same settings."""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.catalogue import ModelEntry
from schemas.planned import PlannedRow

# Stable Diffusion repeats its subject, or loses it, where the area is far from the one it was trained at: at twice the
# sides (4x) it does so plainly, at 512x768 (1.5x) hardly.
LARGEST_AREA = 2.5
SMALLEST_AREA = 0.4
LONGEST_SIDE = 3.0
"""Width to height, or height to width."""
FEWEST_STEPS = 5
"""Of a model that is not distilled: its samplers have not converged by then."""


class Oddity(NamedTuple):
    """A field, what is odd about its value, and what all of the kind have alike."""

    field: str
    message: str
    kind: str


def odd_settings(row: PlannedRow, entry: ModelEntry) -> tuple[Oddity, ...]:
    """What is odd about a row's own stage, with a message that names what the model was made for."""
    return () if entry.noise else (*_sizes(row, entry), *_steps(row, entry))


def _sizes(row: PlannedRow, entry: ModelEntry) -> Iterator[Oddity]:
    if row.pipeline == "upscale" or not row.width or not row.height:
        return
    native = f"the {entry.width} x {entry.height} that {row.model} was made for"
    area = row.width * row.height / (entry.width * entry.height)
    size = f"{row.width} x {row.height}"
    if area < SMALLEST_AREA:
        kind = f"far smaller than {native}"
        yield Oddity("width", f"{size} is {kind}", kind)
    elif row.pipeline == "txt2img" and area > LARGEST_AREA:
        # From an input image the composition is given, and a large output is what it is for.
        kind = f"far larger than {native}: subjects come out several times"
        yield Oddity("width", f"{size} is {kind}", kind)
    if max(row.width / row.height, row.height / row.width) > LONGEST_SIDE:
        kind = f"far longer than {native}"
        yield Oddity("width", f"{size} is {kind}", kind)


def _steps(row: PlannedRow, entry: ModelEntry) -> Iterator[Oddity]:
    most = entry.max_useful_steps
    if most is not None:
        if row.steps > most:
            kind = f"more steps than {row.model} can use: it was distilled for {most} at most"
            yield Oddity("steps", kind, kind)
        if row.guidance_scale > 1 >= entry.guidance_scale:
            kind = f"{row.model} was distilled to work without guidance"
            yield Oddity("guidance_scale", f"{kind}; up to 1 is off", kind)
    elif row.steps < FEWEST_STEPS < entry.steps and not row.loras and not entry.source.startswith("builtin:"):
        kind = f"few steps for {row.model}, which is no turbo model; {entry.steps} are usual"
        yield Oddity("steps", kind, kind)
