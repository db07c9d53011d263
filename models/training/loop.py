"""The training loop that all models share: seeded, resumable, averaged weights, losses in a log.

What a step sees depends on (seed, step) only, so a run that was stopped and resumed sees the same batches.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from models.training import data, muon

BETAS = (0.9, 0.99)
M = TypeVar("M", bound=nn.Module)


class OtherTraining(ValueError):
    """A work folder whose checkpoints are not those of this training."""


@dataclass(frozen=True)
class Recipe:
    """How one model is trained. `averaging` is the decay of the exponential mean of the weights."""

    name: str
    steps: int
    batch: int
    rate: float
    warmup: int = 100
    decay: float = 0.01
    averaging: float = 0.999
    seed: int = 0
    save_every: float = 120.0  # seconds
    low_precision: bool = True  # bfloat16 in the matrix products, float32 weights
    halved: bool = False  # a bfloat16 twin, channels last, makes the gradients: most of a step's time on a CPU
    muon: bool = False  # see muon.py
    falling: float = 1.0  # last share of the steps, in which the rate falls; before it is constant


@dataclass
class Run(Generic[M]):
    """What a checkpoint holds, and the twin that makes the gradients (the model itself unless `halved`)."""

    model: M
    mean: M
    optimizer: torch.optim.AdamW
    twin: M
    start: str  # digest of the weights that it began with
    step: int = 0
    seconds: float = 0.0


Loss = Callable[[M, int, torch.Generator], Tensor]


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def like(model: nn.Module, batch: Tensor) -> Tensor:
    """A batch (n, c, h, w) in the precision and layout of the model, which may be a twin."""
    dtype = next(model.parameters()).dtype
    layout = torch.contiguous_format if dtype == torch.float32 else torch.channels_last
    return batch.to(dtype, memory_format=layout)


def twin_of(model: M, recipe: Recipe, prepare: Callable[[nn.Module], None] | None = None) -> M:
    """What computes in the model's place: itself, or if `halved` a copy in bfloat16, channels last, prepared."""
    if not recipe.halved:
        return model
    twin: M = copy.deepcopy(model).bfloat16().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if prepare is not None:
        prepare(twin)
    return twin


def _rate_at(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth (Loshchilov & Hutter 2017), begun late if `falling` says so.

    While the rate is constant, `steps` may be changed from one run to the next.
    """
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    span = max(1.0, (recipe.steps - recipe.warmup) * recipe.falling)
    share = min(1.0, max(0.0, 1 - (recipe.steps - step) / span))
    return recipe.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def _start(recipe: Recipe, model: M, twin: M, folder: Path) -> Run[M]:
    """A fresh run, or the one whose checkpoint lies in the folder.

    Raises:
        OtherTraining: that one began with other weights.
    """
    optimizer: torch.optim.AdamW
    if recipe.muon:
        optimizer = muon.muon(model, recipe.rate, BETAS, recipe.decay)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=BETAS, weight_decay=recipe.decay)
    mean = copy.deepcopy(model).requires_grad_(False)
    run = Run(model, mean, optimizer, twin, data.digest(model))
    path = folder / "checkpoint.pt"
    if path.exists():
        held = torch.load(path, map_location=device(), weights_only=True)
        if held.get("start") != run.start:
            raise OtherTraining(
                f"{path} is of a training that began with other weights: name a new work folder, or remove {folder}"
            )
        model.load_state_dict(held["model"])
        mean.load_state_dict(held["mean"])
        optimizer.load_state_dict(held["optimizer"])
        run.step, run.seconds = held["step"], held["seconds"]
    return run


def _save(run: Run[M], folder: Path) -> None:
    """Replace the checkpoint in one move, so that a kill leaves a whole one."""
    half = folder / "checkpoint.part"
    torch.save(
        {
            "model": run.model.state_dict(),
            "mean": run.mean.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "start": run.start,
            "step": run.step,
            "seconds": run.seconds,
        },
        half,
    )
    half.replace(folder / "checkpoint.pt")


def _average(run: Run[M], decay: float) -> None:
    """Move the mean weights towards the current ones; faster at the start."""
    keep = min(decay, (1 + run.step) / (10 + run.step))
    pairs = list(zip(run.mean.parameters(), run.model.parameters(), strict=True))
    torch._foreach_lerp_([m for m, _ in pairs], [p.detach() for _, p in pairs], 1 - keep)


def _gradients(run: Run[M], recipe: Recipe, loss_of: Loss[M], rng: torch.Generator) -> Tensor:
    """The loss; its gradients are left at the model's weights."""
    pairs = list(zip(run.model.parameters(), run.twin.parameters(), strict=True))
    if recipe.halved:
        with torch.no_grad():
            torch._foreach_copy_([twin for _, twin in pairs], [own.detach() for own, _ in pairs])
    run.twin.zero_grad(set_to_none=True)
    with torch.autocast(device().type, torch.bfloat16, enabled=recipe.low_precision and not recipe.halved):
        loss = loss_of(run.twin, run.step, rng)
    loss.backward()  # type: ignore[no-untyped-call]
    if recipe.halved:
        for own, twin in pairs:
            own.grad = None if twin.grad is None else twin.grad.to(own.dtype).contiguous()
    return loss


def _one_step(run: Run[M], recipe: Recipe, loss_of: Loss[M]) -> float:
    rng = torch.Generator().manual_seed(recipe.seed * 1_000_003 + run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = _rate_at(recipe, run.step)
    loss = _gradients(run, recipe, loss_of, rng)
    nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    _average(run, recipe.averaging)
    run.step += 1
    return float(loss.detach())


def fit(
    recipe: Recipe, model: M, loss_of: Loss[M], work: Path, prepare: Callable[[nn.Module], None] | None = None
) -> M:
    """Train (or go on training) and return the model with the averaged weights, in eval mode.

    `prepare` may change how (not what) the module computes that makes the gradients.

    Raises:
        OtherTraining: the work folder holds a training of this name that began with other weights.
    """
    folder = work / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    model = model.to(device()).train()
    run = _start(recipe, model, twin_of(model, recipe, prepare), folder)
    saved = began = time.monotonic()
    before, losses = run.seconds, []
    with (folder / "log.jsonl").open("a") as log:
        while run.step < recipe.steps:
            losses.append(_one_step(run, recipe, loss_of))
            now = time.monotonic()
            run.seconds = before + now - began
            if run.step % 50 == 0:
                line = {"step": run.step, "loss": sum(losses) / len(losses), "seconds": round(run.seconds, 1)}
                log.write(json.dumps(line) + "\n")
                log.flush()
                losses = []
            if now - saved > recipe.save_every or run.step == recipe.steps:
                _save(run, folder)
                saved = now
    return run.mean.eval()


def progress(work: Path, name: str) -> tuple[int, float]:
    """(steps, seconds) of a model's training so far, from its checkpoint."""
    path = work / name / "checkpoint.pt"
    if not path.exists():
        return 0, 0.0
    held = torch.load(path, map_location="cpu", weights_only=True)
    return int(held["step"]), float(held["seconds"])
