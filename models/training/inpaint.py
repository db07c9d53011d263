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
    "inpaint", steps=4_000, batch=32, rate=1e-3, warmup=100, averaging=0.998, seed=2, halved=True, muon=True
)
COUNT = 24_000  # scenes with a mask each
CHANNELS = 9
MOST_GUIDANCE = 5.0
LATENTS = INSIDE = 3.0  # weights, where that of the pixels outside of the mask is 1


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


class _Lessons:
    """Scenes with a mask each, and what is asked of a UNet about them."""

    def __init__(self, work: Path, parts: txt2img.Parts, batch: int) -> None:
        self.batch, self.process = batch, unet.Diffusion(unet.NOISY_LATER)
        self.known, self.pictures, self.areas = txt2img.conditions(work, parts), data.pictures(work), masks(work)
        pairs = zip(self.pictures, self.areas, strict=False)
        self.left = data.cached(
            work / "data" / f"left-{data.digest(parts.codec.encoder)}.npy",
            lambda: unet.encode(parts.codec, np.stack([without(picture, mask) for picture, mask in pairs])),
        )
        self.small = np.ascontiguousarray(self.areas[:, None, ::4, ::4])  # nearest, as the pipeline does

    def choose(self, rng: torch.Generator) -> NDArray[np.int64]:
        """Which scenes a batch is of."""
        return data.draw_batch(rng, len(self.areas), self.batch)

    def channels(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The mask (n, 1, 16, 16) and the latents around it (n, 4, 16, 16)."""
        return txt2img.floats(self.small[chosen]), txt2img.floats(self.left[chosen])

    def outside(self, model: drawing.Drawing, chosen: NDArray[np.int64], posed: unet.Posed, v: Tensor) -> Tensor:
        """The loss of the pixels that are known."""
        true = data.to_tensor(self.pictures[chosen], loop.device())
        masked = txt2img.floats(self.areas[chosen])[:, None] > 0
        return drawing.pixel_loss(torch.where(masked, true, model.picture(posed, v)), true)

    def plain(self, model: drawing.Drawing, rng: torch.Generator) -> Tensor:
        """The loss over noised true latents."""
        chosen = self.choose(rng)
        clean, words, empty = self.known.batch(chosen)
        posed = self.process.pose(clean, rng)
        said = unet.dropped(words, empty, posed.steps, rng)
        v = model.guess(posed, said, *self.channels(chosen))
        return self.outside(model, chosen, posed, v) + LATENTS * self.process.v_loss(v, posed)

    def guided(self, model: drawing.Drawing, before: nn.Module, rng: torch.Generator) -> Tensor:
        """The loss over what sampling with guidance comes to; in the mask it asks for what `before` finds there."""
        chosen = self.choose(rng)[: self.batch // 2]  # each is asked twice
        clean, words, empty = self.known.batch(chosen)
        mask, context = (torch.cat([x, x]) for x in self.channels(chosen))
        said = torch.cat([empty.expand_as(words), words])
        guidance = 1 + (MOST_GUIDANCE - 1) * torch.rand((), generator=rng).item()

        def both(net: nn.Module, posed: unet.Posed) -> Tensor:
            return unet.predicted(net, posed.twice(), said, mask, context)

        posed = self.process.pose(clean, rng)
        posed = drawing.sampled(self.process, posed, lambda found: unet.guided(both(model.net, found), guidance))
        v = both(model.net, posed)
        with torch.no_grad():
            wanted = both(before, posed)
        inside = (mask * (v - wanted)).square().mean() / mask.mean().clamp_min(1e-6)
        return self.outside(model, chosen, posed, unet.guided(v, guidance)) + INSIDE * inside


def train(
    work: Path,
    parts: txt2img.Parts,
    start: UNet2DConditionModel,
    recipe: loop.Recipe = RECIPE,
    *,
    knows_how: bool = True,
) -> nn.Module:
    """Go on from a UNet of CHANNELS: `unet.widened` makes one from that of txt2img, which does not know how to inpaint.

    Outside of the mask the picture is known, and what it looks like counts too; inside there are many right ones.
    One that knows how learns in every other batch what sampling with guidance comes to: a guidance of 4 had taken
    2.3 dB off what is outside of the mask. With nothing asked for in the mask of such a batch, the share of things that
    appear as asked fell from 92 to 77 %.
    """
    torch.manual_seed(recipe.seed)
    lessons = _Lessons(work, parts, recipe.batch)
    before = loop.twin_of(start.to(loop.device()).eval(), recipe, compiled.compile_blocks)

    def loss_of(model: drawing.Drawing, step: int, rng: torch.Generator) -> Tensor:
        return lessons.guided(model, before, rng) if knows_how and step % 2 else lessons.plain(model, rng)

    model = drawing.Drawing(start, parts.codec, decoder_learns=False)
    return loop.fit(recipe, model, loss_of, work, compiled.compile_blocks).net
