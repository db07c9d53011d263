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

    def forward(self, posed: unet.Posed, said: Tensor, *given: Tensor, **more: Tensor) -> tuple[Tensor, Tensor]:
        """(loss of v for each example, pictures (n, 3, h, w)); `given`: further channels of the UNet's input."""
        x = loop.like(self, torch.cat([posed.noised, *given], 1))
        out = self.net(x, posed.steps, encoder_hidden_states=said.to(x.dtype), **more).sample.float()
        pictures = self.decoder(loop.like(self, posed.clean_by(out) / self.scaling))
        return (out - posed.v).square().mean((1, 2, 3)), pictures.float()
