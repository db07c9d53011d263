"""What the four UNets share: shape, noise schedule, precomputed conditions and the training loss.

The schedule ends in pure noise and is sampled from there (`rescale_betas_zero_snr`, `trailing` steps), and the
UNets predict v (Salimans & Ho 2022), as Lin et al. 2023 ("Common Diffusion Noise Schedules and Sample Steps are
Flawed") ask: with Stable Diffusion 1's own schedule the mean colour leaks through the last step and small models
ignore their captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from models.training import clip, data, loop

STEPS = 1000
# From here on a scene is lost in noise: with the words known the shipped UNet's loss was a quarter of that without
# them at 999, half at 850, nine tenths at 200. So the words are learned here, and most steps are drawn from here.
LOST = 700
NOISY = 0.6
# Who knows the words has the outlines to learn, and they are settled where there is less noise: of 100 held-out prompts
# 54 % of the shapes were right after 20,000 steps with NOISY, and 67 % after 4,500 more with this.
NOISY_LATER = 0.4
UNCONDITIONED = 0.12  # share of captions emptied, for classifier-free guidance (Ho & Salimans 2021)
# Below this step a scene is seen, and guidance only enlarges what is wrong with the answer to the empty prompt: of true
# scenes noised to step 199, 96 % of the places were right after sampling with a guidance of 1, and 90 % with one of 4.
# So that answer is learned better there.
SEEN = 500
UNCONDITIONED_SEEN = 0.35
# Step -> the loss of a trained txt2img UNet there, in hundredths. An example counts by one over its root: most of the
# loss at noisy steps nobody can learn away, and it drowns that of the outlines. (Karras et al. 2024 weigh by one over
# the loss itself.) With both, four times the scenes and a decoder that knows what UNets leave, 8,000 more steps brought
# 67 to 87 % of the shapes and 64 to 81 % of the places of 300 held-out prompts.
USUAL = {
    0: 6.0, 50: 3.8, 100: 2.9, 200: 2.4, 300: 2.4, 400: 2.9, 500: 3.5, 600: 5.3, 700: 8.5, 800: 14.2, 900: 16.9, 999: 18
}  # fmt: skip
CHUNK = 250  # pictures of 64x64, or as many pixels, encoded at once


def scheduler() -> DDIMScheduler:
    """The noise schedule that all pipelines are shipped with."""
    return DDIMScheduler(
        num_train_timesteps=STEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def build(channels: int = 4, **changes: Any) -> UNet2DConditionModel:
    """A fresh UNet for 16x16x4 latents; attention where they are 8x8 and 4x4. Its processor trains fastest."""
    settings: dict[str, Any] = {
        "sample_size": data.SIZE // 4,
        "in_channels": channels,
        "out_channels": 4,
        "block_out_channels": (64, 96, 128),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": clip.WIDTH,
        "attention_head_dim": 4,  # diffusers' name; it is the number of heads
        "norm_num_groups": 16,
    }
    model = UNet2DConditionModel(**{**settings, **changes})
    model.set_attn_processor(AttnProcessor())
    return model


def opened(folder: Path) -> UNet2DConditionModel:
    """An exported UNet, to be trained on."""
    model = UNet2DConditionModel.from_pretrained(folder, local_files_only=True)
    model.set_attn_processor(AttnProcessor())
    return model


def widened(source: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """A copy that takes more input channels; the new ones start without any effect."""
    model = build(channels)
    state = dict(source.state_dict())
    first = torch.zeros_like(model.conv_in.weight)
    first[:, : source.conv_in.weight.shape[1]] = source.conv_in.weight
    state["conv_in.weight"] = first
    model.load_state_dict(state)
    return model


@torch.no_grad()
def encode(codec: AutoencoderKL, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    """(n, h, w, 3) uint8 to scaled latents (n, c, h/4, w/4) float16: the mean of each."""
    where = loop.device()
    parts = []
    chunk = max(1, CHUNK * data.SIZE**2 // (pictures.shape[1] * pictures.shape[2]))
    for start in range(0, len(pictures), chunk):
        batch = data.to_tensor(pictures[start : start + chunk], where)
        with torch.autocast(where.type, torch.bfloat16):  # costs 0.3 % of the latents' deviation
            latents = codec.encode(batch).latent_dist.mean.float() * codec.config.scaling_factor
        parts.append(latents.cpu().numpy().astype(np.float16))
    return np.concatenate(parts)


@torch.no_grad()
def states(text: CLIPModel, tokenizer: CLIPTokenizer, captions: list[str]) -> NDArray[np.float16]:
    """(n, 77, width) float16: what the pipelines hand to the UNet for each caption."""
    where = loop.device()
    parts = []
    for start in range(0, len(captions), CHUNK):
        ids = clip.tokens(tokenizer, captions[start : start + CHUNK], tokenizer.model_max_length).to(where)
        with torch.autocast(where.type, torch.bfloat16):
            found = text.text_model(input_ids=ids).last_hidden_state
        parts.append(found.float().cpu().numpy().astype(np.float16))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Posed:
    """What a UNet is asked: noised latents (n, c, h, w), their steps (n,), the v that it should find, and the shares
    (n, 1, 1, 1) of signal and noise in them."""

    noised: Tensor
    steps: Tensor
    v: Tensor
    signal_share: Tensor
    noise_share: Tensor

    def clean_by(self, v: Tensor) -> Tensor:
        """The clean latents, if this v is right."""
        return self.signal_share * self.noised - self.noise_share * v

    def noise_by(self, v: Tensor) -> Tensor:
        """The noise, if this v is right."""
        return self.noise_share * self.noised + self.signal_share * v

    def twice(self) -> Posed:
        """Everything once more, as guidance asks it."""
        return Posed(*(torch.cat([value, value]) for value in vars(self).values()))


def predicted(net: nn.Module, posed: Posed, words: Tensor, *given: Tensor, **more: Tensor) -> Tensor:
    """The v (n, c, h, w) that a UNet finds, in float32 also if the UNet is in lower precision.

    Args:
        words: text states (n, 77, d).
        given: further channels of the UNet's input, (n, c, h, w).
        more: class labels.
    """
    x = loop.like(net, torch.cat([posed.noised, *given], 1))
    out: Tensor = net(x, posed.steps, encoder_hidden_states=words.to(x.dtype), **more).sample
    return out.float()


def guided(both: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2021): v (n, ...) of (2n, ...), without the words and with them."""
    without, with_words = both.chunk(2)
    return without + guidance * (with_words - without)


class Diffusion:
    """The forward process: noised latents and the v that they should lead to."""

    def __init__(self, noisy: float = NOISY, *, weighted: bool = True) -> None:
        """Read the schedule once; `noisy` is the share of steps from LOST on; `weighted`: by USUAL."""
        self.noisy = noisy
        alpha = scheduler().alphas_cumprod.to(loop.device())
        self.signal, self.noise = alpha.sqrt(), (1 - alpha).sqrt()
        usual = np.interp(np.arange(STEPS), list(USUAL), list(USUAL.values()))
        weight = usual**-0.5 / (usual**-0.5).mean() if weighted else np.ones(STEPS)
        self.weight = torch.from_numpy(weight).float().to(loop.device())

    def _steps(self, count: int, rng: torch.Generator) -> Tensor:
        """Steps spread evenly over their distribution: a batch sees all of it (Kingma et al. 2021)."""
        place = (torch.arange(count) + torch.rand(count, generator=rng)) / count
        low, high = place / (1 - self.noisy), 1 - (1 - place) / self.noisy
        found = torch.where(low < 1, low * LOST, LOST + high * (STEPS - LOST))
        return found.long().clamp_(0, STEPS - 1)

    def pose(self, clean: Tensor, rng: torch.Generator) -> Posed:
        """Noise clean latents (n, c, h, w)."""
        steps = self._steps(len(clean), rng).to(clean.device)
        return self.mix(clean, torch.randn(clean.shape, generator=rng).to(clean.device), steps)

    def mix(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Posed:
        """Latents and noise (n, c, h, w) as they are at these steps (n,)."""
        a, b = self.signal[steps][:, None, None, None], self.noise[steps][:, None, None, None]
        return Posed(a * clean + b * noise, steps, a * noise - b * clean, a, b)

    def loss(self, model: nn.Module, posed: Posed, words: Tensor, *given: Tensor, **more: Tensor) -> Tensor:
        """`v_loss` of what a UNet predicts; see `predicted`."""
        return self.v_loss(predicted(model, posed, words, *given, **more), posed)

    def v_loss(self, v: Tensor, posed: Posed) -> Tensor:
        """Weighted squared error of a predicted v."""
        return (self.weight[posed.steps] * (v - posed.v).square().mean((1, 2, 3))).mean()


def dropped(
    words: Tensor, empty: Tensor, steps: Tensor, rng: torch.Generator, seen: float = UNCONDITIONED_SEEN
) -> Tensor:
    """The text states (n, 77, d) with some replaced by those of the empty prompt; below SEEN the share is `seen`."""
    share = torch.where(steps < SEEN, seen, UNCONDITIONED)
    gone = torch.rand(len(words), generator=rng).to(words.device) < share
    return torch.where(gone[:, None, None], empty, words)
