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

FINISHED = 8_000  # latents for the decoder
SAMPLING, BATCH = 20, 50  # steps, and scenes at once, with which those are sampled
RECIPE = loop.Recipe(
    "txt2img", steps=20_000, batch=32, rate=2e-3, warmup=100, averaging=0.998, halved=True, muon=True, falling=0.5
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
    codec, text = data.digest(parts.codec.encoder), data.digest(parts.text.text_model)
    latents = data.cached(
        folder / f"latents-{data.COUNT}-{codec}.npy", lambda: unet.encode(parts.codec, data.pictures(work))
    )
    words = data.cached(
        folder / f"states-{data.COUNT}-{text}.npy",
        lambda: unet.states(parts.text, parts.tokenizer, data.caption_list(work)),
    )
    return Conditions(latents, words, unet.states(parts.text, parts.tokenizer, [""]))


@torch.no_grad()
def finished(work: Path, parts: Parts, net: UNet2DConditionModel, count: int = FINISHED) -> NDArray[np.float16]:
    """Latents (count, 4, 16, 16) of the first training scenes as a UNet leaves them: noised a little, and sampled.

    How much noise and which guidance differs from batch to batch; outlines are only blurred, things stay in place.
    """
    known, schedule = conditions(work, parts), unet.scheduler()
    schedule.set_timesteps(SAMPLING)
    net = net.to(loop.device(), torch.bfloat16).eval()

    def sampled(start: int) -> NDArray[np.float16]:
        rng = torch.Generator().manual_seed(start)
        x, words, empty = known.batch(np.arange(start, min(start + BATCH, count)))
        first = int(torch.randint(SAMPLING - 6, SAMPLING - 2, (), generator=rng))
        guidance = float(1 + 3 * torch.rand((), generator=rng))
        noise = torch.randn(x.shape, generator=rng).to(x.device)
        x = schedule.add_noise(x, noise, schedule.timesteps[first : first + 1])
        said = torch.cat([empty.expand_as(words), words]).bfloat16()
        for step in schedule.timesteps[first:]:
            without, with_words = net(torch.cat([x, x]).bfloat16(), step, said).sample.float().chunk(2)
            x = schedule.step(without + guidance * (with_words - without), step, x).prev_sample
        return x.cpu().numpy().astype(np.float16)  # type: ignore[no-any-return]

    path = work / "data" / f"finished-{count}-{data.digest(net)}.npy"
    return data.cached(path, lambda: np.concatenate([sampled(k) for k in range(0, count, BATCH)]))


def train(
    work: Path, parts: Parts, recipe: loop.Recipe = RECIPE, source: UNet2DConditionModel | None = None
) -> nn.Module:
    """Train from nothing, or from a UNet that knows something."""
    torch.manual_seed(recipe.seed)
    known, process = conditions(work, parts), unet.Diffusion(unet.NOISY if source is None else unet.NOISY_LATER)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(known.latents), recipe.batch)
        clean, words, empty = known.batch(chosen)
        posed = process.pose(clean, rng)
        return process.loss(model, posed, unet.dropped(words, empty, posed.steps, rng))

    return loop.fit(recipe, unet.build() if source is None else source, loss_of, work, compiled.compile_blocks)
