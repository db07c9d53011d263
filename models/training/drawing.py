"""UNets that see what they draw: their guess at the clean latents is decoded, and its pixels count too.

Of twelve upscaled pictures two thirds of the squared error lay in flat areas, 7 levels of 255 off where the codec alone
was 4: mottled, and in another shade. For latents that is little, and the squared error of latents says nothing of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from models.training import loop, unet, vae

SQUARED = 40.0  # weight of the pixels' squared error


class Drawing(nn.Module):
    """A UNet and the decoder that its latents are for."""

    def __init__(self, net: nn.Module, codec: AutoencoderKL, *, decoder_learns: bool) -> None:
        """Copies both. Unless `decoder_learns`, gradients only pass through the decoder."""
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(True)
        self.decoder = vae.Decoder(codec).requires_grad_(decoder_learns)
        self.scaling = float(codec.config.scaling_factor)

    def guess(self, posed: unet.Posed, said: Tensor, *given: Tensor, **more: Tensor) -> Tensor:
        """v (n, c, h, w); `given`: further channels of the UNet's input."""
        return unet.predicted(self.net, posed, said, *given, **more)

    def picture(self, posed: unet.Posed, v: Tensor) -> Tensor:
        """The pictures (n, 3, h, w) that a v leads to."""
        pictures: Tensor = self.decoder(loop.like(self, posed.clean_by(v) / self.scaling))
        return pictures.float()


def pixel_loss(out: Tensor, true: Tensor) -> Tensor:
    """That of a codec; but what is left is a matter of shade, which the squared error is for."""
    return vae.picture_loss(out, true, SQUARED)


@torch.no_grad()
def sampled(process: unet.Diffusion, posed: unet.Posed, guess: Callable[[unet.Posed], Tensor]) -> unet.Posed:
    """The same noise at the same steps, but over what a UNet itself guesses in two steps from pure noise."""
    clean, noise = posed.clean_by(posed.v), posed.noise_by(posed.v)
    last = torch.full_like(posed.steps, unet.STEPS - 1)
    found = process.mix(clean, noise, last)
    for steps in ((posed.steps + last) // 2, posed.steps):
        v = guess(found)
        found = process.mix(found.clean_by(v), found.noise_by(v), steps)
    return found
