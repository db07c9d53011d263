"""Filling a masked area: nine channels in (noised latents, mask, latents of the picture without the area).

Fine-tuned from the txt2img UNet, as Stable Diffusion's own inpainting model was (Rombach et al. 2022).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training import compiled, data, drawing, loop, txt2img, unet
from models.training.scenes import Scene, Thing

RECIPE = loop.Recipe(
    "inpaint", steps=3_000, batch=32, rate=1e-3, warmup=100, averaging=0.998, seed=2, halved=True, muon=True
)
COUNT = 24_000  # scenes with a mask each
CHANNELS = 9


def around(thing: Thing, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask (64, 64) that covers the thing wholly: a box or a disc with some room, in latent-sized steps."""
    size = data.SIZE
    room = thing.radius * float(rng.uniform(1.15, 1.6)) + 0.03
    x, y = thing.x + float(rng.uniform(-0.02, 0.02)), thing.y + float(rng.uniform(-0.02, 0.02))
    places = (np.arange(size) + 0.5) / size
    dx, dy = np.abs(places[None, :] - x), np.abs(places[:, None] - y)
    if rng.random() < 0.6:
        return np.asarray((dx < room) & (dy < room), bool)
    return np.asarray(dx**2 + dy**2 < (1.15 * room) ** 2, bool)


def _box(rng: np.random.Generator) -> NDArray[np.bool_]:
    """Any rectangle of at least a quarter of the side."""
    size = data.SIZE
    mask = np.zeros((size, size), bool)
    w, h = rng.integers(size // 4, size, 2)
    x, y = rng.integers(0, size - w + 1), rng.integers(0, size - h + 1)
    mask[y : y + h, x : x + w] = True
    return mask


def mask_for(scene: Scene, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mostly around one of the things; else any rectangle; at times everything."""
    draw = rng.random()
    if draw < 0.65:
        return around(scene.things[int(rng.integers(len(scene.things)))], rng)
    return _box(rng) if draw < 0.92 else np.ones((data.SIZE, data.SIZE), bool)


def without(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with middle gray in the mask, as the pipeline makes it (zero in -1..1)."""
    return np.where(mask[..., None], np.uint8(128), picture)


def masks(work: Path, count: int = COUNT) -> NDArray[np.bool_]:
    """(count, 64, 64) bool: one for each of the first training scenes."""

    def make() -> NDArray[np.bool_]:
        rng = np.random.default_rng(data.TRAINING_SEED + 3)
        return np.stack([mask_for(s, rng) for s in data.training_scenes(count)])

    return data.cached(work / "data" / "masks.npy", make)


def train(work: Path, parts: txt2img.Parts, start: UNet2DConditionModel, recipe: loop.Recipe = RECIPE) -> nn.Module:
    """Go on from a UNet of CHANNELS: `unet.widened` makes one from that of txt2img.

    Outside of the mask the picture is known, and what it looks like counts too; inside there are many right ones.
    Every other batch is of what sampling comes to, see `upscale.train_on_whole`.
    """
    torch.manual_seed(recipe.seed)
    known, process, areas = txt2img.conditions(work, parts), unet.Diffusion(unet.NOISY_LATER), masks(work)
    pictures = data.pictures(work)
    left = data.cached(
        work / "data" / f"left-{data.digest(parts.codec.encoder)}.npy",
        lambda: unet.encode(parts.codec, np.stack([without(p, m) for p, m in zip(pictures, areas, strict=False)])),
    )
    small = np.ascontiguousarray(areas[:, None, ::4, ::4])  # nearest, as the pipeline does

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(areas), recipe.batch)
        clean, words, empty = known.batch(chosen)
        true, masked = data.to_tensor(pictures[chosen], loop.device()), txt2img.floats(areas[chosen])[:, None] > 0
        posed = process.pose(clean, rng)
        said = unet.dropped(words, empty, posed.steps, rng)
        given = txt2img.floats(small[chosen]), txt2img.floats(left[chosen])
        if step % 2:
            posed = drawing.sampled(model, process, posed, said, *given)  # type: ignore[arg-type]
        v, out = model(posed, said, *given)
        of_pixels = drawing.pixel_loss(torch.where(masked, true, out), true)
        # What sampling comes to in the mask may be another right picture: true latents are no target there.
        return of_pixels if step % 2 else of_pixels + process.v_loss(v, posed)

    model = drawing.Drawing(start, parts.codec, decoder_learns=False)
    return loop.fit(recipe, model, loss_of, work, compiled.compile_blocks).net  # type: ignore[return-value]
