"""The picture codec: AutoencoderKL, 64x64x3 pixels to 16x16x4 latents and back.

Trained with L1 on pixels and on their differences along x and y (edges are what a viewer sees), and the
usual slight pull of the latents to a normal distribution (Kingma & Welling 2014; Rombach et al. 2022).
Pieces of 256x256 pictures are mixed in, so that it knows straight edges and wide areas too. Later the decoder alone
goes on, on 64x64 pictures, with latents as a UNet leaves them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training import compiled, data, loop

RECIPE = loop.Recipe("vae", steps=4_000, batch=24, rate=2e-3, averaging=0.998)
DECODER = loop.Recipe(
    "decoder", steps=4_000, batch=24, rate=1e-3, averaging=0.998, seed=1, halved=True, muon=True, falling=0.3
)
LATENT_PULL = 1e-5
SCALING = 0.08333  # StableDiffusionUpscalePipeline sets its codec to this, whatever was asked for
CROP_SHARE = 0.2
SQUARED = 4.0  # weight of the squared error, once the codec is good


def build(latents: int = 4) -> AutoencoderKL:
    """A fresh codec: three levels, four times smaller."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=latents,
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


def picture_loss(out: Tensor, true: Tensor, squared: float = SQUARED) -> Tensor:
    """`reconstruction_loss`, and `squared` times the squared error, most of which lies in flat areas."""
    return reconstruction_loss(out, true) + squared * (out - true).square().mean()


def _sample(work: Path, recipe: loop.Recipe) -> Callable[[torch.Generator], Tensor]:
    """Batches of whole pictures and of pieces of large ones, (n, 3, 64, 64) in -1..1."""
    whole, parts = data.pictures(work), data.crops(work)
    from_parts = int(recipe.batch * CROP_SHARE)

    def sample(rng: torch.Generator) -> Tensor:
        first = whole[data.draw_batch(rng, len(whole), recipe.batch - from_parts)]
        second = parts[data.draw_batch(rng, len(parts), from_parts)]
        return data.to_tensor(np.concatenate([first, second]), loop.device())

    return sample


def train(work: Path, recipe: loop.Recipe = RECIPE) -> AutoencoderKL:
    """Train and return the codec, its latents of unit deviation once scaled."""
    torch.manual_seed(recipe.seed)
    sample = _sample(work, recipe)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        true = sample(rng)
        spread = model.encode(true).latent_dist  # type: ignore[operator]
        noise = torch.randn(spread.mean.shape, generator=rng).to(true.device)
        out = model.decode(spread.mean + spread.std * noise).sample  # type: ignore[operator]
        pull: Tensor = 0.5 * (spread.mean**2 + spread.var - 1.0 - spread.logvar).mean()
        return reconstruction_loss(out.float(), true) + LATENT_PULL * pull

    return scaled(loop.fit(recipe, build(), loss_of, work), data.to_tensor(data.pictures(work)[:1000], loop.device()))


def train_decoder(
    work: Path, codec: AutoencoderKL, latents: tuple[NDArray[Any], NDArray[Any]], recipe: loop.Recipe = DECODER
) -> AutoencoderKL:
    """Go on with the decoder alone: latents, and so the UNets that have learned them, stay as they are.

    Args:
        latents: scaled, of the first training scenes: as encoded, and as a UNet leaves them, which is never quite
            clean. Each is half of a batch.
    """
    pictures = data.pictures(work)
    codec.encoder.requires_grad_(False)
    codec.quant_conv.requires_grad_(False)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = [data.draw_batch(rng, len(kind), recipe.batch // 2) for kind in latents]
        true = data.to_tensor(np.concatenate([pictures[k] for k in chosen]), loop.device())
        held = np.concatenate([kind[k] for kind, k in zip(latents, chosen, strict=True)])
        given = torch.from_numpy(held).to(loop.device()).float() / codec.config.scaling_factor
        out: Tensor = model(loop.like(model, given)).float()
        return picture_loss(out, true)

    return with_decoder(codec, loop.fit(recipe, Decoder(codec), loss_of, work, compiled.compile_blocks))


class Decoder(nn.Module):
    """The half of the codec that goes on learning."""

    def __init__(self, codec: AutoencoderKL) -> None:
        super().__init__()
        self.first, self.decoder = copy.deepcopy(codec.post_quant_conv), copy.deepcopy(codec.decoder)
        self.requires_grad_(True)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (n, c, h, w) to pictures (n, 3, 4h, 4w)."""
        return self.decoder(self.first(latents))  # type: ignore[no-any-return]


def with_decoder(codec: AutoencoderKL, part: nn.Module) -> AutoencoderKL:
    """A codec, frozen, with a `Decoder` that has gone on learning put back."""
    codec.decoder.load_state_dict(part.decoder.state_dict())  # type: ignore[union-attr]
    codec.post_quant_conv.load_state_dict(part.first.state_dict())  # type: ignore[union-attr]
    return codec.requires_grad_(False).eval()


@torch.no_grad()
def scaled(codec: AutoencoderKL, batch: Tensor) -> AutoencoderKL:
    """Shift and stretch the latents so that, times SCALING, each channel has mean 0 and deviation 1.

    The convolutions next to the latents take it up: pictures come back the same. `batch` (n, 3, h, w) says what
    the latents are like.
    """
    latents = torch.cat([codec.encode(part).latent_dist.mean for part in torch.split(batch, 100)])
    middle, stretch = latents.mean((0, 2, 3)), 1.0 / (SCALING * latents.std((0, 2, 3)))
    into, out_of = codec.quant_conv, codec.post_quant_conv
    count = len(middle)
    into.weight[:count] *= stretch[:, None, None, None]
    into.bias[:count] = (into.bias[:count] - middle) * stretch
    into.bias[count:] += 2 * torch.log(stretch)  # the other half is the logarithm of the variance
    out_of.bias += out_of.weight[:, :, 0, 0] @ middle
    out_of.weight /= stretch[None, :, None, None]
    codec.register_to_config(scaling_factor=SCALING)
    return codec


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
