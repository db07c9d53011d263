"""Caption to latents: the UNet that txt2img and img2img use, and that the others start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from models.training import compiled, data, loop, unet

COUNT = 20_000  # scenes, of those that the codec and CLIP see
RECIPE = loop.Recipe(
    "txt2img", steps=20_000, batch=32, rate=2e-3, warmup=100, averaging=0.998, halved=True, muon=True, falling=0.3
)


@dataclass(frozen=True)
class Parts:
    """The frozen models that every UNet stands on."""

    codec: AutoencoderKL
    text: CLIPModel
    tokenizer: CLIPTokenizer


@dataclass(frozen=True)
class Conditions:
    """The training set as the UNet sees it: latents (n, 4, 16, 16), text states (n, 77, d), the empty prompt's."""

    latents: NDArray[np.float16]
    words: NDArray[np.float16]
    empty: NDArray[np.float16]

    def batch(self, chosen: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Float32 tensors of the chosen examples, and the empty prompt's states."""
        return floats(self.latents[chosen]), floats(self.words[chosen]), floats(self.empty)


def floats(array: NDArray[Any]) -> Tensor:
    """Any stored array as float32 where the training runs."""
    return torch.from_numpy(np.array(array)).to(loop.device()).float()


def conditions(work: Path, parts: Parts) -> Conditions:
    """Latents and text states of all training scenes, made once."""
    folder = work / "data"
    latents = data.cached(
        folder / f"latents-{COUNT}.npy", lambda: unet.encode(parts.codec, data.pictures(work)[:COUNT])
    )
    words = data.cached(
        folder / f"states-{COUNT}.npy",
        lambda: unet.states(parts.text, parts.tokenizer, data.caption_list(work)[:COUNT]),
    )
    return Conditions(latents, words, unet.states(parts.text, parts.tokenizer, [""]))


def train(
    work: Path, parts: Parts, recipe: loop.Recipe = RECIPE, source: UNet2DConditionModel | None = None
) -> nn.Module:
    """Train from nothing, or from a UNet that knows something."""
    torch.manual_seed(recipe.seed)
    known, process = conditions(work, parts), unet.Diffusion(unet.NOISY if source is None else unet.NOISY_LATER)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(known.latents), recipe.batch)
        clean, words, empty = known.batch(chosen)
        noised, steps, v = process.pose(clean, rng)
        return unet.v_loss(model, noised, steps, unet.dropped(words, empty, rng), v)

    return loop.fit(recipe, unet.build() if source is None else source, loss_of, work, compiled.compile_blocks)
