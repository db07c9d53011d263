"""The picture codec: AutoencoderKL, 64x64x3 pixels to 16x16x4 latents and back.

Trained with L1 on pixels and on their differences along x and y (edges are what a viewer sees), and the
usual slight pull of the latents to a normal distribution (Kingma & Welling 2014; Rombach et al. 2022).
Pieces of 256x256 pictures are mixed in, because the upscaler decodes at that size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from models.training import data, loop

RECIPE = loop.Recipe("vae", steps=2_000, batch=24, rate=2e-3, averaging=0.998)
LATENT_PULL = 1e-5
CROP_SHARE = 0.2


def build() -> AutoencoderKL:
    """A fresh codec: three levels, four times smaller."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=data.SIZE,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 48, 64),
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def reconstruction_loss(out: Tensor, true: Tensor) -> Tensor:
    """L1 of pixels plus L1 of their differences; both (n, 3, h, w)."""
    loss = (out - true).abs().mean()
    for a, b in zip(_edges(out), _edges(true), strict=True):
        loss = loss + (a - b).abs().mean()
    return loss


def train(work: Path, recipe: loop.Recipe = RECIPE) -> AutoencoderKL:
    """Train and return the codec, its scaling factor measured (latents of unit deviation)."""
    torch.manual_seed(recipe.seed)
    whole, parts = data.pictures(work), data.crops(work)
    where = loop.device()
    from_parts = int(recipe.batch * CROP_SHARE)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        first = whole[data.draw_batch(rng, len(whole), recipe.batch - from_parts)]
        second = parts[data.draw_batch(rng, len(parts), from_parts)]
        true = data.to_tensor(np.concatenate([first, second]), where)
        spread = model.encode(true).latent_dist  # type: ignore[operator]
        noise = torch.randn(spread.mean.shape, generator=rng).to(where)
        out = model.decode(spread.mean + spread.std * noise).sample  # type: ignore[operator]
        pull = 0.5 * (spread.mean**2 + spread.var - 1.0 - spread.logvar).mean()
        return reconstruction_loss(out.float(), true) + LATENT_PULL * pull

    model = loop.fit(recipe, build(), loss_of, work)
    model.register_to_config(scaling_factor=1.0 / _deviation(model, work))  # type: ignore[operator]
    return model


def _deviation(model: nn.Module, work: Path) -> float:
    """Standard deviation of the latents over a thousand training pictures."""
    with torch.no_grad():
        batch = data.to_tensor(data.pictures(work)[:1000], loop.device())
        return float(model.encode(batch).latent_dist.mean.std())  # type: ignore[operator]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """(n,) dB of pictures (n, 3, h, w) in -1..1, rounded to eight bits as a file would be."""
    a, b = ((x.clamp(-1, 1) * 127.5).round() for x in (a, b))
    error = ((a - b) ** 2).flatten(1).mean(1).clamp_min(1e-9)
    return 10 * torch.log10(255.0**2 / error)


@torch.no_grad()
def measure(model: AutoencoderKL, batch: Tensor) -> float:
    """Mean PSNR, dB, of what comes back."""
    back = model.decode(model.encode(batch).latent_dist.mean).sample
    return float(psnr(back, batch).mean())
