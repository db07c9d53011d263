"""Images too large for one piece: the VAE works in tiles, and the upscaler's UNet in overlapping windows.

Why the upscaler needs it: its latents are a quarter of the output's side, not an eighth, so that 512 x 512 pixels of
input are 262,144 latent pixels, and the VAE's attention over all of them asks for 256 GiB where it is not computed in
pieces (huggingface/diffusers#1434).

The VAE's tiles are diffusers' own (`vae.enable_tiling`). The UNet is called once for each window at every step, and
what the windows predict is averaged where they overlap, before the scheduler's step: one denoising loop and one noise
for the whole image, so that no seam can form (MultiDiffusion, Bar-Tal and others 2023, arXiv:2302.08113). Windows come
in a fixed order and the average is taken in float32: the same recipe gives the same pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from schemas.planned import PlannedRow, Tiling

ALIGNMENT = 8  # the UNet halves its input three times


@contextmanager
def tiled(pipe: Any, row: PlannedRow) -> Iterator[None]:
    """While it is open the pipeline works in tiles, if the row says so. Its components may be others' too."""
    if row.tiling is None:
        yield
        return
    pipe.vae.enable_tiling()
    if row.tiling.window is not None:
        # An attribute of the object hides the class's method until it is deleted.
        pipe.unet.forward = in_windows(pipe.unet.forward, row.tiling)
    try:
        yield
    finally:
        pipe.vae.disable_tiling()
        vars(pipe.unet).pop("forward", None)


def in_windows(forward: Callable[..., Any], tiling: Tiling) -> Callable[..., tuple[torch.Tensor]]:
    """A UNet's forward that predicts window by window.

    Args:
        forward: takes a sample of (batch, channels, height, width) first and returns, with `return_dict=False`, a
            tuple whose first is the prediction of the same batch, height and width.
        tiling: side and least overlap of the windows, in latent pixels.
    """
    assert tiling.window is not None
    window, overlap = tiling.window, tiling.overlap

    def windowed(sample: torch.Tensor, *arguments: Any, **keywords: Any) -> tuple[torch.Tensor]:
        keywords["return_dict"] = False
        height, width = sample.shape[-2:]
        tops, lefts = starts(height, window, overlap), starts(width, window, overlap)
        down, across = weights(tops, height, window).to(sample.device), weights(lefts, width, window).to(sample.device)
        total: torch.Tensor | None = None
        for row, top in enumerate(tops):
            for column, left in enumerate(lefts):
                part = sample[..., top : top + window, left : left + window].contiguous()
                (made,) = forward(part, *arguments, **keywords)[:1]
                if total is None:
                    total = torch.zeros((*made.shape[:-2], height, width), dtype=torch.float32, device=made.device)
                rows, columns = made.shape[-2:]
                weight = down[row, :rows, None] * across[column, None, :columns]
                total[..., top : top + rows, left : left + columns] += made.float() * weight
        assert total is not None
        return (total.to(sample.dtype),)

    return windowed


def starts(size: int, window: int, overlap: int) -> list[int]:
    """First pixels of the fewest windows that cover `size` and overlap by `overlap` at least, evenly spread.

    All are multiples of 8 where `size` and `window` are, so that every window halves as the whole would.
    """
    if size <= window:
        return [0]
    stride = max(ALIGNMENT, (window - overlap) // ALIGNMENT * ALIGNMENT)
    steps = -(-(size - window) // stride)
    return [number * (size - window) // steps // ALIGNMENT * ALIGNMENT for number in range(steps)] + [size - window]


def weights(firsts: list[int], size: int, window: int) -> torch.Tensor:
    """How much each window counts at each of its pixels, (windows, window), float32; all that cover a pixel sum to 1.

    A window rises from its edge over what it shares with its neighbour. The edges of the image are not edges of a
    window in this sense.
    """
    length = min(size, window)
    found = torch.ones((len(firsts), length), dtype=torch.float32)
    for left in range(len(firsts) - 1):
        shared = firsts[left] + length - firsts[left + 1]
        ramp = (torch.arange(shared, dtype=torch.float32) + 0.5) / shared
        found[left + 1, :shared] *= ramp
        found[left, length - shared :] *= ramp.flip(0)
    covered = torch.zeros(size, dtype=torch.float32)
    for number, first in enumerate(firsts):
        covered[first : first + length] += found[number]
    return torch.stack([found[number] / covered[first : first + length] for number, first in enumerate(firsts)])
