"""The upscaler's own codec: as small as the other, but with three times the latents, for edges of large pictures.

What the upscaler can reach ends at its codec, and a bicubic enlargement of shapes is as good as four latents for each
4x4 pixels are (32.7 dB both). It goes on from the other codec, on pieces of pictures drawn at 256x256 alone; later its
decoder goes on with the UNet (see `upscale.train_on_whole`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from models.training import compiled, data, loop, vae

RECIPE = loop.Recipe("fine", steps=1_500, batch=16, rate=1e-3, averaging=0.995, seed=6, halved=True, muon=True)
LATENTS = 12


def widened(source: AutoencoderKL, latents: int = LATENTS) -> AutoencoderKL:
    """A copy with more latents; the first ones are the source's, the new ones start small."""
    model = vae.build(latents)
    model.register_to_config(scaling_factor=vae.SCALING)
    old, state = source.state_dict(), model.state_dict()
    kept = source.config.latent_channels
    both = torch.tensor([*range(kept), *range(latents, latents + kept)])  # means, then logarithms of variances
    for name, value in state.items():
        if value.shape == old[name].shape:
            value.copy_(old[name])
        elif name.startswith("encoder.conv_out"):
            value[both] = old[name]
        elif name == "quant_conv.bias":
            value.zero_()[both] = old[name]
        elif name == "quant_conv.weight":
            value.copy_(torch.eye(2 * latents)[:, :, None, None])
            value[both[:, None], both] = old[name]
        elif name == "post_quant_conv.bias":
            value.zero_()[:kept] = old[name]
        elif name == "post_quant_conv.weight":
            value.copy_(torch.eye(latents)[:, :, None, None])
            value[:kept, :kept] = old[name]
        else:  # decoder.conv_in.weight
            value.mul_(0.3)[:, :kept] = old[name]
    model.load_state_dict(state)
    return model.requires_grad_(True)


class _Whole(nn.Module):
    """Encoder and decoder in one call, as the twin needs it."""

    def __init__(self, codec: AutoencoderKL) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(pictures as they come back, the pull of the latents to a normal distribution)."""
        spread = self.codec.encode(pictures).latent_dist
        out = self.codec.decode(spread.mean + spread.std * noise).sample
        mean, var, log = (x.float() for x in (spread.mean, spread.var, spread.logvar))
        return out.float(), 0.5 * (mean**2 + var - 1.0 - log).mean()


def train(work: Path, codec: AutoencoderKL, recipe: loop.Recipe = RECIPE) -> AutoencoderKL:
    """Train and return the codec, its latents of unit deviation once scaled."""
    torch.manual_seed(recipe.seed)
    pieces = data.crops(work)
    start = _Whole(widened(codec))

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        true = data.to_tensor(pieces[data.draw_batch(rng, len(pieces), recipe.batch)], loop.device())
        side = true.shape[-1] // 4
        noise = torch.randn((len(true), LATENTS, side, side), generator=rng)
        out, pull = model(loop.like(model, true), loop.like(model, noise.to(true.device)))
        return vae.picture_loss(out, true) + vae.LATENT_PULL * pull

    tuned = loop.fit(recipe, start, loss_of, work, compiled.compile_blocks)
    return vae.scaled(tuned.codec, data.to_tensor(pieces[:1000], loop.device()))  # type: ignore[arg-type]
