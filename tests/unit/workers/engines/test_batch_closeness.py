"""Batches: any mix of prompts and seeds, close to one by one; limits; schedulers; steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from plain_diffusers import COMBINATIONS, MARKS, MakeSlots

from schemas.catalogue import ModelEntry
from schemas.errors import ModelUnavailable, RenderFailed
from schemas.samplers import SCHEDULERS
from workers.engines.base import Interrupted, Slot
from workers.engines.limits import batch_limit

pytestmark = MARKS


@pytest.mark.parametrize(("model", "pipeline"), COMBINATIONS)
def test_a_batch_is_close_to_its_images_alone(room: Any, slots: MakeSlots, model: str, pipeline: str) -> None:
    prompts = ["a red square", "", "a green triangle, 水", "x" * 200]
    batch: list[Slot] = []
    for number, prompt in enumerate(prompts):
        negative = "blurry" if number % 2 else ""
        strength = None if pipeline in ("txt2img", "upscale") else 0.8
        batch += slots(
            pipeline, model=model, prompt=prompt, negative_prompt=negative, strength=strength, seed=100 - number
        )
    together = room.render(batch, lambda: None)
    alone = [room.render([slot], lambda: None)[0] for slot in batch]
    for one, other in zip(together, alone, strict=True):
        # Batched arithmetic rounds differently in the last bits of float32, which decide a pixel now and then.
        assert np.abs(one.pixels.astype(int) - other.pixels.astype(int)).max() <= 2
    assert len({picture.pixels.tobytes() for picture in together}) == len(batch)


def test_place_and_company_change_nothing(room: Any, slots: MakeSlots) -> None:
    company = [slots(prompt=f"company {number}", seed=number)[0] for number in range(3)]
    mine = slots()[0]
    first = room.render([mine, *company], lambda: None)[0]
    other = [slots(prompt=f"others {number}", seed=50 + number)[0] for number in range(3)]
    np.testing.assert_array_equal(first.pixels, room.render([mine, *other], lambda: None)[0].pixels)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(("model", "pipeline"), [("tiny", "txt2img"), ("tiny-2", "img2img"), ("tiny-xl", "inpaint")])
def test_every_scheduler_name_renders(room: Any, slots: MakeSlots, model: str, pipeline: str, scheduler: str) -> None:
    strength = None if pipeline == "txt2img" else 0.7
    (picture,) = room.render(slots(pipeline, model=model, scheduler=scheduler, strength=strength), lambda: None)
    assert picture.pixels.std() > 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"scheduler": "lcm", "steps": 60}, r"txt2img with tiny, scheduler lcm: ValueError"),
        ({"clip_skip": 9}, r"clip_skip 9 is over 3: the text encoder has 3 layers"),
        ({"clip_skip": 3, "model": "tiny-xl"}, r"clip_skip 3 is over 2"),
    ],
)
def test_what_a_model_cannot_do_is_told(room: Any, slots: MakeSlots, fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(RenderFailed, match=expected):
        room.render(slots(**fields), lambda: None)


def test_a_strength_that_leaves_no_step_is_told(room: Any, slots: MakeSlots) -> None:
    with pytest.raises(RenderFailed, match=r"strength 0\.3 of 3 steps leaves no step"):
        room.render(slots("img2img", strength=0.3), lambda: None)


def test_missing_inputs_are_told(room: Any, slots: MakeSlots) -> None:
    (slot,) = slots("inpaint")
    with pytest.raises(RenderFailed, match="inpaint got no mask"):
        room.render([Slot(slot.row, 0, 1, slot.image, None)], lambda: None)
    with pytest.raises(RenderFailed, match="inpaint got no input image"):
        room.render([Slot(slot.row, 0, 1, None, slot.mask)], lambda: None)


def test_a_pipeline_that_a_model_lacks(room: Any, slots: MakeSlots) -> None:
    with pytest.raises(ModelUnavailable, match="tiny-xl has no upscale; it has txt2img, img2img, inpaint"):
        room.render(slots("upscale", model="tiny-xl"), lambda: None)


def test_an_unknown_model(room: Any, slots: MakeSlots) -> None:
    assert room.batch_limit(slots(model="tinny")[0].row) == 1
    with pytest.raises(ModelUnavailable, match="did you mean tiny"):
        room.render(slots(model="tinny"), lambda: None)


@pytest.mark.parametrize(("model", "pipeline"), COMBINATIONS)
def test_a_step_can_interrupt(room: Any, slots: MakeSlots, model: str, pipeline: str) -> None:
    calls = 0

    def stop_at_the_second() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Interrupted

    strength = None if pipeline in ("txt2img", "upscale") else 1.0
    fields = {"model": model, "steps": 9, "scheduler": "ddim", "strength": strength}
    with pytest.raises(Interrupted):
        room.render(slots(pipeline, **fields), stop_at_the_second)
    assert calls == 2
    (again,) = room.render(slots(pipeline, **fields), lambda: None)
    (once_more,) = room.render(slots(pipeline, **fields), lambda: None)
    np.testing.assert_array_equal(again.pixels, once_more.pixels)


@pytest.mark.parametrize(("model", "pipeline"), COMBINATIONS)
def test_every_step_is_told(room: Any, slots: MakeSlots, model: str, pipeline: str) -> None:
    calls: list[None] = []
    strength = None if pipeline in ("txt2img", "upscale") else 1.0
    fields = {"model": model, "steps": 4, "scheduler": "ddim", "strength": strength}
    room.render(slots(pipeline, **fields), lambda: calls.append(None))
    assert len(calls) == 4


def test_limits_of_a_room(make_room: Callable[..., Any], slots: MakeSlots) -> None:
    row = slots()[0].row
    assert make_room(exact=True).batch_limit(row) == 1
    assert make_room(exact=True, max_batch=7).batch_limit(row) == 1
    assert make_room(max_batch=7).batch_limit(row) == 7
    assert make_room().batch_limit(row) == 16
    assert make_room().batch_limit(row.model_copy(update={"width": 512, "height": 512})) == 1


def test_limits_by_memory(slots: MakeSlots) -> None:
    cuda, half = torch.device("cuda"), torch.float16
    sd15 = ModelEntry(source="a/b", family="sd1", pipelines=("txt2img",))
    sdxl = ModelEntry(source="a/b", family="sdxl", pipelines=("txt2img",))
    small = slots(width=512, height=512)[0].row
    large = slots(width=1024, height=1024)[0].row
    gib = 2**30
    # What such cards are known to hold, on the safe side.
    assert 4 <= batch_limit(small, sd15, cuda, half, 8 * gib, loaded=False) <= 8
    assert 2 <= batch_limit(large, sdxl, cuda, half, 24 * gib, loaded=False) <= 8
    assert batch_limit(small, sd15, cuda, half, 80 * gib, loaded=True) == 32
    assert batch_limit(large, sdxl, cuda, half, 4 * gib, loaded=True) == 1
    fewer = batch_limit(small, sd15, cuda, torch.float32, 24 * gib, loaded=True)
    assert fewer < batch_limit(small, sd15, cuda, half, 24 * gib, loaded=True)
