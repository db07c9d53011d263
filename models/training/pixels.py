"""UNets that see what they draw: their guess at the clean latents is decoded, and its pixels count too.

Of the upscaled pictures two thirds of the squared error lay in flat areas, 7 levels of 255 off where the codec alone
was 4: mottled, and in another shade. For latents that is little, and the squared error of latents says nothing of it.
"""

from __future__ import annotations

import copy

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from models.training import loop, unet, vae


class Drawing(nn.Module):
    """A UNet and the decoder that its latents are for."""

    def __init__(self, net: nn.Module, codec: AutoencoderKL, *, decoder_learns: bool) -> None:
        """Both are copies; `decoder_learns`: or is it only looked through."""
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(True)
        self.decoder = vae.Decoder(codec).requires_grad_(decoder_learns)
        self.scaling = float(codec.config.scaling_factor)

    def guess(self, posed: unet.Posed, said: Tensor, *given: Tensor, **more: Tensor) -> Tensor:
        """v (n, c, h, w); `given`: further channels of the UNet's input."""
        x = loop.like(self, torch.cat([posed.noised, *given], 1))
        out: Tensor = self.net(x, posed.steps, encoder_hidden_states=said.to(x.dtype), **more).sample.float()
        return out

    def forward(self, posed: unet.Posed, said: Tensor, *given: Tensor, **more: Tensor) -> tuple[Tensor, Tensor]:
        """(v, the pictures (n, 3, h, w) that it leads to)."""
        v = self.guess(posed, said, *given, **more)
        return v, self.decoder(loop.like(self, posed.clean_by(v) / self.scaling)).float()


@torch.no_grad()
def sampled(
    model: Drawing, process: unet.Diffusion, posed: unet.Posed, said: Tensor, *given: Tensor, **more: Tensor
) -> unet.Posed:
    """What sampling comes to at the same steps: from the same noise alone, in two steps by the UNet's own guesses.

    Its `v` is that of what the UNet guessed; what it should have been is `posed`'s.
    """
    clean, noise = posed.clean_by(posed.v), posed.noise_by(posed.v)
    last = torch.full_like(posed.steps, unet.STEPS - 1)
    found = process.mix(clean, noise, last)
    for steps in ((posed.steps + last) // 2, posed.steps):
        v = model.guess(found, said, *given, **more)
        found = process.mix(found.clean_by(v), found.noise_by(v), steps)
    return found
