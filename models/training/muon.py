"""Muon (Jordan et al. 2024): AdamW for vectors, and for matrices a momentum step made orthogonal.

Each direction of a weight matrix is moved equally far, which lets small UNets learn in fewer steps. Convolutions
count as matrices of (out, in * k * k). The step is scaled to the size AdamW's would have (Liu et al. 2025, "Muon is
Scalable for LLM Training"), so both kinds share one learning rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
LIKE_ADAMW = 0.2  # root mean square of an AdamW step, by Liu et al.
ROUNDS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: singular values to about 0.7..1.2 in five rounds


def orthogonal(stack: Tensor) -> Tensor:
    """The matrices (n, rows, cols) with their singular values near one, by Newton and Schulz's iteration."""
    x = stack.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = (x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)).contiguous()
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        square = torch.bmm(x, x.mT)
        mixed = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, mixed, x, beta=a)
    out: Tensor = (x.mT if tall else x).to(stack.dtype)
    return out


class Muon(torch.optim.AdamW):
    """AdamW whose groups marked `matrices` take Muon's step."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of every group."""
        everything = self.param_groups
        for group in (g for g in everything if g.get("matrices")):
            self._step_matrices(group["params"], group["lr"], group["weight_decay"])
        self.param_groups = [g for g in everything if not g.get("matrices")]
        try:
            super().step(closure)
        finally:
            self.param_groups = everything

    def _step_matrices(self, params: Iterable[Tensor], rate: float, decay: float) -> None:
        """Matrices of one shape are made orthogonal together."""
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for p in params:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros(())  # not used here; AdamW misses it when a state is loaded
                state["momentum_buffer"] = torch.zeros_like(p.grad)
            buffer = state["momentum_buffer"].lerp_(p.grad, 1 - MOMENTUM)
            flat = p.grad.lerp(buffer, MOMENTUM).flatten(1)  # Nesterov's look ahead
            alike[flat.shape].append((p, flat))
        for shape, pairs in alike.items():
            steps = orthogonal(torch.stack([flat for _, flat in pairs]))
            size = rate * LIKE_ADAMW * max(shape) ** 0.5
            for (p, _), step in zip(pairs, steps, strict=True):
                p.mul_(1 - rate * decay).add_(step.view(p.shape), alpha=-size)


def muon(model: nn.Module, rate: float, betas: tuple[float, float], decay: float) -> Muon:
    """For a UNet: what maps to and from pictures, embeddings and vectors go by AdamW, all else by Muon."""
    edge = ("conv_in.", "conv_out.", "embedding")
    names = dict(model.named_parameters())
    matrices = [p for n, p in names.items() if p.ndim >= 2 and not any(e in n for e in edge)]
    held = {id(p) for p in matrices}
    others = [p for p in names.values() if id(p) not in held]
    groups: list[dict[str, Any]] = [{"params": matrices, "matrices": True}, {"params": others}]
    return Muon(groups, lr=rate, betas=betas, weight_decay=decay)
