"""Compiled blocks: on a CPU the many small operations between the products of a UNet cost more than the products."""

from __future__ import annotations

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

SHAPES = 128  # most blocks of different shape in a process; training all stages takes 56


def compile_blocks(model: nn.Module) -> None:
    """Have the residual and the attention blocks compiled for the shapes of the training, at their first use.

    Block by block, because UNets that differ in their input only then share what was compiled.
    """
    torch._dynamo.config.recompile_limit = SHAPES
    for block in model.modules():
        if isinstance(block, (ResnetBlock2D, Transformer2DModel)):
            block.compile(dynamic=False)
