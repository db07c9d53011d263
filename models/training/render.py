"""Trial pictures from the exported pipelines: held-out scenes in words, fixed seeds, plain diffusers calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from models.training import captions, data, draw, scenes
from models.training.scenes import Scene

TRIAL_SEED = 20_000
STEPS = 20
UPSCALE_STEPS = 2  # the upscaler's usual ones: with each further step it builds more on its own guesses
GUIDANCE = 4.0
BATCH = 25
Pictures = NDArray[np.uint8]


def trial_scenes(count: int, kind: str | None = None, seed: int = TRIAL_SEED) -> list[Scene]:
    """Scenes with at least one combination that training never showed."""
    return list(itertools.islice(scenes.stream(seed, training=False, kind=kind), count))


def prompts(chosen: list[Scene], seed: int = TRIAL_SEED) -> list[str]:
    """One caption for each."""
    rng = np.random.default_rng(seed)
    return [captions.caption(rng, s, plain=True) for s in chosen]


def drawn(chosen: list[Scene], size: int = data.SIZE) -> Pictures:
    """The true pictures."""
    return np.stack([draw.draw(s, size) for s in chosen])


def _batches(count: int, batch: int) -> Iterator[slice]:
    return (slice(start, min(count, start + batch)) for start in range(0, count, batch))


def render(pipeline: DiffusionPipeline, texts: list[str], batch: int = BATCH, **settings: Any) -> Pictures:
    """(n, side, side, 3) uint8. Lists among the settings hold one entry for each prompt; picture i has seed i."""
    settings = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **settings}
    out = []
    for part in _batches(len(texts), batch):
        mine = {k: v[part] if isinstance(v, list) else v for k, v in settings.items()}
        seeds = [torch.Generator().manual_seed(i) for i in range(part.start, part.stop)]
        out.append(pipeline(texts[part], generator=seeds, output_type="np", **mine).images)
    return (np.concatenate(out) * 255).round().astype(np.uint8)


def pil(pictures: Pictures) -> list[Image.Image]:
    """As pipelines take them."""
    return [Image.fromarray(p) for p in pictures]


def sheet(pictures: Pictures, columns: int, path: Path, side: int = 128, gap: int = 4) -> None:
    """Save pictures as a grid, row by row."""
    rows = -(-len(pictures) // columns)
    out = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    for k, picture in enumerate(pictures):
        at = (gap + (k % columns) * (side + gap), gap + (k // columns) * (side + gap))
        out.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), at)
    out.save(path, optimize=True)
