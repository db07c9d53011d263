"""Large images in tiles: diffusers' own for the VAE, overlapping windows for the upscaler's UNet."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_diffusers import MARKS, MakeSlots, input_image, plain_picture, with_scheduler

from schemas.planned import Tiling
from services.catalogue import Catalogue
from workers.engines.base import Slot
from workers.engines.limits import batch_limit
from workers.engines.tiles import in_windows, starts, weights

pytestmark = MARKS
Plain = Callable[[str, str], tuple[Any, Any]]
COMMON = {"prompt": "a red square left of a blue circle", "num_inference_steps": 3, "guidance_scale": 5.0}

SIDES = st.integers(4, 60).map(lambda eighth: 8 * eighth)


class TestWindows:
    @given(SIDES, SIDES, st.integers(0, 31))
    def test_they_cover_the_side_and_overlap_as_asked(self, size: int, window: int, overlap: int) -> None:
        firsts = starts(size, window, overlap)
        assert firsts[0] == 0
        assert firsts[-1] + min(window, size) == size
        assert all(first % 8 == 0 for first in firsts)
        for left, right in pairwise(firsts):
            assert left < right
            assert left + window - right >= min(overlap, window - 8)

    @given(SIDES, SIDES, st.integers(0, 31))
    def test_what_counts_at_each_pixel_sums_to_one(self, size: int, window: int, overlap: int) -> None:
        firsts = starts(size, window, overlap)
        found = weights(firsts, size, window)
        total = torch.zeros(size)
        for number, first in enumerate(firsts):
            total[first : first + found.shape[1]] += found[number]
        assert bool((found >= 0).all())
        torch.testing.assert_close(total, torch.ones(size))

    def test_512_pixels_take_two_windows_of_the_shipped_size(self) -> None:
        entry = Catalogue.load().entries["sd-x4-upscaler"]
        assert starts(512, entry.tile_window, entry.tile_overlap) == [0, 224]


def forward(sample: torch.Tensor, scale: float, return_dict: bool = True) -> tuple[torch.Tensor]:
    """A UNet that knows only its own pixels, and drops a channel."""
    assert not return_dict
    return (sample[:, :2] * scale + 1,)


class TestTheAverage:
    tiling = Tiling(over=0, window=32, overlap=8)

    def test_of_windows_that_agree_is_what_they_say(self) -> None:
        sample = torch.randn(2, 3, 80, 48, generator=torch.Generator().manual_seed(1))
        (whole,) = forward(sample, 3.0, return_dict=False)
        (found,) = in_windows(forward, self.tiling)(sample, 3.0, return_dict=False)
        torch.testing.assert_close(found, whole)

    def test_of_windows_that_differ_goes_over_from_one_to_the_other(self) -> None:
        calls: list[int] = []

        def numbered(sample: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
            calls.append(len(calls))
            return (torch.full_like(sample, float(calls[-1])),)

        (found,) = in_windows(numbered, self.tiling)(torch.zeros(1, 1, 32, 56))
        line = found[0, 0, 0]
        assert calls == [0, 1]
        assert (line[:24] == 0).all()
        assert (line[32:] == 1).all()
        torch.testing.assert_close(line[24:32], (torch.arange(8) + 0.5) / 8)

    def test_it_keeps_the_number_format(self) -> None:
        (found,) = in_windows(forward, self.tiling)(torch.zeros(1, 3, 40, 40, dtype=torch.bfloat16), 1.0)
        assert found.dtype == torch.bfloat16


def large(slots: MakeSlots, pipeline: str, side: int, tiling: Tiling | None, **fields: Any) -> list[Slot]:
    (slot,) = slots(pipeline, width=side, height=side, tiling=tiling, **fields)
    factor = 4 if pipeline == "upscale" else 1
    image = None if pipeline == "txt2img" else input_image(side // factor)
    return [Slot(slot.row, 0, slot.seed, image, None)]


class TestInTheEngine:
    @pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
    def test_a_large_picture_is_a_plain_call_with_the_vaes_tiling(
        self, room: Any, plain: Plain, slots: MakeSlots, model: str
    ) -> None:
        side = 128  # of these VAEs a tile is 64 pixels
        (whole,) = room.render(large(slots, "txt2img", side, None, model=model), lambda: None)
        (got,) = room.render(large(slots, "txt2img", side, Tiling(over=0), model=model), lambda: None)
        pipe = with_scheduler(*plain(model, "txt2img"), None)
        pipe.vae.enable_tiling()
        try:
            expected = plain_picture(pipe, 11, width=side, height=side, **COMMON)
        finally:
            pipe.vae.disable_tiling()
        np.testing.assert_array_equal(got.pixels, expected)
        assert (got.pixels != whole.pixels).any(), "nothing was tiled"

    def test_nothing_of_it_stays_for_the_next_render(self, room: Any, slots: MakeSlots) -> None:
        tiling = Tiling(over=0, window=32, overlap=8)
        before = room.render(large(slots, "upscale", 192, None, noise_level=20), lambda: None)
        first = room.render(large(slots, "upscale", 192, tiling, noise_level=20), lambda: None)
        again = room.render(large(slots, "upscale", 192, tiling, noise_level=20), lambda: None)
        after = room.render(large(slots, "upscale", 192, None, noise_level=20), lambda: None)
        np.testing.assert_array_equal(before[0].pixels, after[0].pixels)
        np.testing.assert_array_equal(first[0].pixels, again[0].pixels)
        assert (first[0].pixels != before[0].pixels).any()

    def test_nor_after_a_render_that_was_left(self, room: Any, slots: MakeSlots) -> None:
        def leave() -> None:
            raise KeyboardInterrupt

        whole = room.render(large(slots, "upscale", 128, None, noise_level=20), lambda: None)
        with pytest.raises(KeyboardInterrupt):
            room.render(large(slots, "upscale", 128, Tiling(over=0, window=32), noise_level=20), leave)
        again = room.render(large(slots, "upscale", 128, None, noise_level=20), lambda: None)
        np.testing.assert_array_equal(again[0].pixels, whole[0].pixels)

    def test_one_window_over_all_of_it_is_no_window(self, room: Any, slots: MakeSlots) -> None:
        """32 x 32 input pixels in a window of 64: the UNet sees what it sees without."""
        whole = room.render(large(slots, "upscale", 128, Tiling(over=0), noise_level=20), lambda: None)
        windowed = room.render(large(slots, "upscale", 128, Tiling(over=0, window=64), noise_level=20), lambda: None)
        np.testing.assert_array_equal(whole[0].pixels, windowed[0].pixels)


def test_an_image_in_tiles_leaves_memory_for_more(slots: MakeSlots) -> None:
    entry = Catalogue.load().entries["sd-x4-upscaler"]
    device = torch.device("meta")
    free = 20 * 2**30
    rows = [
        slots("upscale", width=2048, height=2048, tiling=tiling)[0].row
        for tiling in (None, Tiling(over=0, window=288, overlap=32))
    ]
    whole, tiled = (batch_limit(row, entry, device, torch.float16, free, loaded=True) for row in rows)
    assert whole == 1
    assert tiled > whole
