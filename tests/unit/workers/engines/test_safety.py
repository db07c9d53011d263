"""The safety checker's four modes, per image, and its agreement with diffusers' own use of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plain_diffusers import MARKS, MakeSlots, with_scheduler

from workers.engines.base import Slot

pytestmark = MARKS
ALL, NONE = 2.0, 0.0


def scores(pipe: Any, pictures: list[Any]) -> list[float]:
    """Each picture's highest cosine among the checker's concepts."""
    import torch

    pixels = pipe.feature_extractor(pictures, return_tensors="pt").pixel_values
    checker = pipe.safety_checker
    with torch.no_grad():
        states = checker.visual_projection(checker.vision_model(pixels)[1])
    return torch.nn.functional.cosine_similarity(states[:, None], checker.concept_embeds[None], dim=-1).amax(1).tolist()


@pytest.fixture(scope="module")
def four(slots: MakeSlots) -> list[Slot]:
    return [slots(seed=seed, prompt=f"picture {seed}", steps=2)[0] for seed in range(4)]


@pytest.fixture(scope="module")
def unchecked(make_room: Callable[..., Any], four: list[Slot]) -> list[Any]:
    found = make_room(safety="off", safety_threshold=ALL).render(four, lambda: None)
    assert [(one.flagged, one.dropped) for one in found] == [(None, False)] * 4
    return [one.pixels for one in found]


@pytest.fixture(scope="module")
def between(plain: Any, unchecked: list[Any]) -> tuple[float, list[bool]]:
    """A threshold that flags some of the four and not the others, and which."""
    from PIL import Image

    pipe, _ = plain("tiny", "txt2img")
    found = scores(pipe, [Image.fromarray(pixels) for pixels in unchecked])
    # An image is flagged where its cosine is over 1 - threshold; halfway between the second and the third.
    low, high = sorted(found)[1:3]
    limit = (low + high) / 2
    assert high - low > 0.004, "the checker rounds scores to three digits"
    return 1 - limit, [score > limit for score in found]


def test_keep_flags_and_leaves_the_picture(
    make_room: Callable[..., Any], four: list[Slot], unchecked: list[Any]
) -> None:
    found = make_room(safety="keep", safety_threshold=ALL).render(four, lambda: None)
    assert [(one.flagged, one.dropped) for one in found] == [(True, False)] * 4
    for one, pixels in zip(found, unchecked, strict=True):
        np.testing.assert_array_equal(one.pixels, pixels)


def test_the_models_own_judgement_flags_nothing_here(
    make_room: Callable[..., Any], four: list[Slot], unchecked: list[Any]
) -> None:
    for mode in ("keep", "blur", "drop"):
        found = make_room(safety=mode).render(four, lambda: None)
        assert [(one.flagged, one.dropped) for one in found] == [(False, False)] * 4
        for one, pixels in zip(found, unchecked, strict=True):
            np.testing.assert_array_equal(one.pixels, pixels)


@pytest.mark.parametrize("mode", ["keep", "blur", "drop"])
def test_each_image_is_judged_alone(
    make_room: Callable[..., Any],
    four: list[Slot],
    unchecked: list[Any],
    between: tuple[float, list[bool]],
    mode: str,
) -> None:
    threshold, expected = between
    found = make_room(safety=mode, safety_threshold=threshold).render(four, lambda: None)
    assert [one.flagged for one in found] == expected
    assert [one.dropped for one in found] == [flag and mode == "drop" for flag in expected]
    for one, pixels in zip(found, unchecked, strict=True):
        assert one.pixels.shape == pixels.shape
        same = np.array_equal(one.pixels, pixels)
        assert same == (not one.flagged or mode == "keep")
        if one.flagged and mode == "blur":
            # What is left of 64 pixels varies far less from one to the next.
            assert np.abs(np.diff(one.pixels.astype(int), axis=1)).mean() < 3
            assert np.abs(np.diff(pixels.astype(int), axis=1)).mean() > 10
        if one.dropped:
            assert not one.pixels.any()


def test_flags_are_those_of_the_plain_pipeline(
    make_room: Callable[..., Any], plain: Any, four: list[Slot], between: tuple[float, list[bool]]
) -> None:
    import torch

    threshold, expected = between
    pipe = with_scheduler(*plain("tiny", "txt2img"), None)
    weights = pipe.safety_checker.concept_embeds_weights
    with torch.no_grad():
        weights.sub_(threshold)
    try:
        flags = []
        for slot in four:
            generator = torch.Generator("cpu").manual_seed(slot.seed)
            result = pipe(
                slot.row.prompt,
                num_inference_steps=2,
                guidance_scale=5.0,
                generator=generator,
                width=64,
                height=64,
            )
            flags += result.nsfw_content_detected
    finally:
        with torch.no_grad():
            weights.add_(threshold)
    assert flags == expected


@pytest.mark.parametrize("pipeline", ["img2img", "inpaint", "upscale", "depth2img"])
def test_every_pipeline_of_a_model_is_checked(make_room: Callable[..., Any], slots: MakeSlots, pipeline: str) -> None:
    strength = None if pipeline == "upscale" else 0.8
    room = make_room(safety="drop", safety_threshold=ALL)
    (found,) = room.render(slots(pipeline, strength=strength, steps=2), lambda: None)
    assert (found.flagged, found.dropped) == (True, True)


@pytest.mark.parametrize("model", ["tiny-2", "tiny-xl"])
def test_a_model_without_a_checker_flags_nothing_and_says_so(
    make_room: Callable[..., Any], slots: MakeSlots, model: str
) -> None:
    room = make_room(safety="drop", safety_threshold=ALL)
    (found,) = room.render(slots(model=model, steps=2), lambda: None)
    assert (found.flagged, found.dropped) == (None, False)
