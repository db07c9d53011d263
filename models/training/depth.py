"""Depth: a small DPT (Ranftl et al. 2021) that tells near from far, and the UNet that keeps to such a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

from models.training import compiled, data, draw, loop, txt2img, unet

ESTIMATOR = loop.Recipe("estimator", steps=1_500, batch=32, rate=1e-3, warmup=100, averaging=0.995, seed=4)
RECIPE = loop.Recipe(
    "depth", steps=2_500, batch=32, rate=1e-3, warmup=100, averaging=0.998, seed=5, halved=True, muon=True
)
CHANNELS = 5
COUNT = 16_000  # scenes


def build_estimator() -> DPTForDepthEstimation:
    """A fresh estimator: patch 8, four layers of width 96."""
    config = DPTConfig(
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=192,
        image_size=data.SIZE,
        patch_size=8,
        is_hybrid=False,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[24, 32, 48, 64],
        fusion_hidden_size=32,
        reassemble_factors=[2, 1, 0.5, 0.25],
        use_auxiliary_head=False,
    )
    model = DPTForDepthEstimation(config)
    for part in (*model.neck.modules(), *model.head.modules()):
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):  # DPT's own start lets so narrow a signal vanish
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    return model


def processor() -> DPTImageProcessorPil:
    """Pictures of any size to 64x64 in -1..1."""
    return DPTImageProcessorPil(
        size={"height": data.SIZE, "width": data.SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def maps(work: Path, count: int = COUNT) -> NDArray[np.float16]:
    """(count, 64, 64): nearness of the first training scenes."""
    return data.cached(
        work / "data" / "maps.npy",
        lambda: np.stack([draw.nearness(s, data.SIZE).astype(np.float16) for s in data.training_scenes(count)]),
    )


def train_estimator(work: Path, recipe: loop.Recipe = ESTIMATOR) -> DPTForDepthEstimation:
    """Learn nearness from pictures.

    Most pixels are at zero, where the head's last ReLU has no slope and learning would end: it is left out here,
    and is there again when the exported weights are loaded.
    """
    torch.manual_seed(recipe.seed)
    near, pictures = maps(work), data.pictures(work)
    fresh = build_estimator()
    nn.init.normal_(fresh.head.head[4].weight, std=0.02)
    fresh.head.head[-1] = nn.Identity()

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(near), recipe.batch)
        out = model(data.to_tensor(pictures[chosen], loop.device())).predicted_depth
        true = txt2img.floats(near[chosen])
        return functional.l1_loss(out.float(), true) + 2 * functional.mse_loss(out.float(), true)

    return loop.fit(recipe, fresh, loss_of, work)


def condition(near: Tensor) -> Tensor:
    """Nearness (n, 64, 64) as the pipeline hands it on: (n, 1, 16, 16), each spread over -1..1."""
    side = data.SIZE // 4
    small = functional.interpolate(near[:, None], size=(side, side), mode="bicubic", align_corners=False)
    low, high = small.amin((1, 2, 3), keepdim=True), small.amax((1, 2, 3), keepdim=True)
    return 2 * (small - low) / (high - low).clamp_min(1e-6) - 1


def train(work: Path, parts: txt2img.Parts, start: UNet2DConditionModel, recipe: loop.Recipe = RECIPE) -> nn.Module:
    """Go on from a UNet of CHANNELS: `unet.widened` makes one from that of txt2img."""
    torch.manual_seed(recipe.seed)
    known, process, near = txt2img.conditions(work, parts), unet.Diffusion(unet.NOISY_LATER), maps(work)

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        chosen = data.draw_batch(rng, len(near), recipe.batch)
        clean, words, empty = known.batch(chosen)
        posed, seen = process.pose(clean, rng), condition(txt2img.floats(near[chosen]))
        return process.loss(model, posed, unet.dropped(words, empty, posed.steps, rng), seen)

    return loop.fit(recipe, start, loss_of, work, compiled.compile_blocks)
