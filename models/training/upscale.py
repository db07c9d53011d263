"""Four times larger: the UNet that StableDiffusionUpscalePipeline uses (Rombach et al. 2022).

It sees the noised latents of the large picture and the small picture, itself a little noised; how much is
told by a class embedding (the pipeline's `noise_level`; Ho et al. 2022, "Cascaded Diffusion Models"). It is
trained on pieces of 128x128 pixels, then on whole pictures by what they look like, used at any size.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training import compiled, data, draw, drawing, fine, loop, txt2img, unet, vae

RECIPE = loop.Recipe(
    "upscale", steps=6_000, batch=12, rate=1e-3, warmup=150, averaging=0.998, seed=3, halved=True, muon=True
)
ON_WHOLE = loop.Recipe(
    "whole", steps=2_600, batch=3, rate=1.6e-3, warmup=50, averaging=0.995, seed=8, halved=True, muon=True
)
NOISY = 0.3  # the small picture says what is where; edges are settled where there is little noise
CHANNELS = fine.LATENTS + 3
PIECE = 128  # side of a training piece of the large picture
COUNT = 3_000  # pieces
WHOLE = 1_500  # whole pictures
CONTRAST, OFFSET = (0.9, 1.05), 12  # of a tinted picture's channels, about the middle; levels
ANCHOR = 0.05  # weight of the latents where pixels count: enough to keep them those of the codec
LEVELS = 350  # noise levels that the pipeline allows


def low_scheduler() -> DDPMScheduler:
    """How the small picture is noised."""
    return DDPMScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="scaled_linear")


def build() -> UNet2DConditionModel:
    """A fresh UNet; attention only in the middle, where a 256x256 picture is 16x16.

    One group in each norm: of a group of two channels over a plain background hardly more than the sign of their
    difference is left, so shades became the nearest of a few.
    """
    return unet.build(
        CHANNELS,
        out_channels=fine.LATENTS,
        sample_size=data.SIZE,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        num_class_embeds=1000,
        norm_num_groups=1,
    )


def shrunk(large: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 4s, 4s, 3) to (n, s, s, 3): the mean of each 4x4 pixels."""
    n, side = large.shape[0], large.shape[1] // 4
    small: NDArray[np.uint8] = large.reshape(n, side, 4, side, 4, 3).mean((2, 4)).round().astype(np.uint8)
    return small


def noised_small(small: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Small pictures (n, 3, h, w) with noise, and of which level (n,)."""
    level = (LEVELS * torch.rand(len(small), generator=rng) ** 4).long().to(small.device)  # half of them below 22
    noise = torch.randn(small.shape, generator=rng).to(small.device)
    return low_scheduler().add_noise(small, noise, level), level  # type: ignore[arg-type]


def pieces(work: Path, count: int = COUNT) -> NDArray[np.uint8]:
    """(count, 128, 128, 3) uint8: three pieces each of training scenes drawn at 256x256."""

    def make() -> NDArray[np.uint8]:
        rng = np.random.default_rng(data.TRAINING_SEED + 4)
        out = []
        for scene in data.training_scenes(count // 3):
            large = draw.draw(scene, data.LARGE, 2)
            for x, y in rng.integers(0, (data.LARGE - PIECE) // 4 + 1, (3, 2)) * 4:
                out.append(large[y : y + PIECE, x : x + PIECE])
        return np.stack(out)

    return data.cached(work / "data" / "pieces.npy", make)


def _words(work: Path, parts: txt2img.Parts, count: int) -> tuple[Tensor, Tensor]:
    """Text states (n, 77, d) of the first scenes' captions, and of the empty prompt."""
    of = functools.partial(unet.states, parts.text, parts.tokenizer)
    return txt2img.floats(of(data.caption_list(work)[:count])), txt2img.floats(of([""]))


def train(work: Path, parts: txt2img.Parts, codec: AutoencoderKL, recipe: loop.Recipe = RECIPE) -> nn.Module:
    """Train from nothing, on the latents of its own codec (see fine.py)."""
    torch.manual_seed(recipe.seed)
    large, process = pieces(work), unet.Diffusion(NOISY, weighted=False)
    place = work / "data" / f"piece-latents-{data.digest(codec.encoder)}.npy"
    latents = data.cached(place, lambda: unet.encode(codec, large))
    small = data.cached(work / "data" / "piece-small.npy", lambda: shrunk(large))
    words, empty = _words(work, parts, len(large) // 3)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(large), recipe.batch)
        seen, level = noised_small(data.to_tensor(small[chosen], loop.device()), rng)
        posed = process.pose(txt2img.floats(latents[chosen]), rng)
        said = unet.dropped(words[torch.from_numpy(chosen // 3)], empty, posed.steps, rng, seen=unet.UNCONDITIONED)
        return process.loss(model, posed, said, seen, class_labels=level)

    return loop.fit(recipe, build(), loss_of, work, compiled.compile_blocks)


def whole(work: Path, count: int = WHOLE) -> NDArray[np.uint8]:
    """(2 * count, 256, 256, 3) uint8: the first training scenes, and the same again, tinted."""

    def make() -> NDArray[np.uint8]:
        large = np.stack([draw.draw(scene, data.LARGE, 2) for scene in data.training_scenes(count)])
        return np.concatenate([large, tinted(large, np.random.default_rng(data.TRAINING_SEED + 5))])

    return data.cached(work / "data" / f"whole-{count}.npy", make)


def tinted(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures (n, h, w, 3), each in shades of its own."""
    contrast = rng.uniform(*CONTRAST, (len(pictures), 1, 1, 3))
    middle = 127.5 + rng.uniform(-OFFSET, OFFSET, (len(pictures), 1, 1, 3))
    pairs = zip(pictures, contrast, middle, strict=True)
    return np.stack([((p - 127.5) * c + m).round().clip(0, 255).astype(np.uint8) for p, c, m in pairs])


def train_on_whole(
    work: Path, parts: txt2img.Parts, net: nn.Module, codec: AutoencoderKL, recipe: loop.Recipe = ON_WHOLE
) -> tuple[nn.Module, AutoencoderKL]:
    """Go on with the upscaler's UNet and the decoder of its codec (in place) together, on whole pictures.

    Normalised layers see all of a picture: what was learned on pieces alone comes in another shade on whole ones.

    Half of them are tinted. Trained on the scenes' own colours alone, what came out was between the shade asked for and
    the usual one of its colour, by a fifth to a half of the way: that was half of the squared error.

    Trained on noised true latents alone, one step of sampling gained 1.4 dB, but twenty, which build on the UNet's own
    guesses, 0.2 dB. So every other batch holds what sampling comes to; and the loss is that of the clean latents, as
    the v that leads from a wrong guess to them grows without bound where there is little noise.
    """
    torch.manual_seed(recipe.seed)
    large, process = whole(work), unet.Diffusion(NOISY, weighted=False)
    place = work / "data" / f"whole-latents-{len(large)}-{data.digest(codec.encoder)}.npy"
    latents = data.cached(place, lambda: unet.encode(codec, large))
    words, empty = _words(work, parts, len(large) // 2)

    def loss_of(model: drawing.Drawing, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(large), recipe.batch)
        true = data.to_tensor(large[chosen], loop.device())
        seen, level = noised_small(data.to_tensor(shrunk(large[chosen]), loop.device()), rng)
        clean = txt2img.floats(latents[chosen])
        posed = process.pose(clean, rng)
        said = unet.dropped(
            words[torch.from_numpy(chosen % len(words))], empty, posed.steps, rng, seen=unet.UNCONDITIONED
        )

        def guess(posed: unet.Posed) -> Tensor:
            return model.guess(posed, said, seen, class_labels=level)

        posed = drawing.sampled(process, posed, guess) if step % 2 else posed
        v = guess(posed)
        of_latents = (posed.clean_by(v) - clean).square().mean()
        return ANCHOR * of_latents + drawing.pixel_loss(model.picture(posed, v), true)

    tuned = loop.fit(recipe, drawing.Drawing(net, codec, decoder_learns=True), loss_of, work, compiled.compile_blocks)
    return tuned.net, vae.with_decoder(codec, tuned.decoder)
