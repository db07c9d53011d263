"""In exact mode every pipeline of every family gives what a plain diffusers call gives, bit for bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_diffusers import (
    CLASSES,
    COMBINATIONS,
    MARKS,
    SCHEDULERS,
    UPSCALE_INPUT,
    MakeSlots,
    input_image,
    input_mask,
    plain_picture,
    with_scheduler,
)

from services.settings import load_settings
from workers.engines.room import open_room

pytestmark = MARKS

PROMPT = "a red square left of a blue circle, 水彩 🎨"
Plain = Callable[[str, str], tuple[Any, Any]]


def own_arguments(pipeline: str, strength: float) -> dict[str, Any]:
    """What a plain call of this pipeline takes beside prompt, steps and guidance."""
    if pipeline == "txt2img":
        return {"width": 64, "height": 64}
    if pipeline == "upscale":
        return {"image": input_image(UPSCALE_INPUT), "noise_level": 30}
    if pipeline == "inpaint":
        size = {"width": 64, "height": 64}
        return {"image": input_image(), "mask_image": input_mask(), "strength": strength, **size}
    return {"image": input_image(), "strength": strength}


ODD = ("heun", "lcm")  # of second order, and few steps: for one pipeline of each family


@pytest.mark.parametrize(
    ("model", "pipeline", "scheduler"),
    [
        (model, pipeline, scheduler)
        for model, pipeline in COMBINATIONS
        for scheduler in (None, *SCHEDULERS)
        if scheduler not in ODD or pipeline == "img2img"
    ],
)
def test_every_pipeline_and_family(
    room: Any, plain: Plain, slots: MakeSlots, model: str, pipeline: str, scheduler: str | None
) -> None:
    strength = 0.7
    mine = slots(
        pipeline,
        model=model,
        prompt=PROMPT,
        negative_prompt="blurry",
        scheduler=scheduler,
        strength=None if pipeline in ("txt2img", "upscale") else strength,
        noise_level=30 if pipeline == "upscale" else None,
    )
    (got,) = room.render(mine, lambda: None)
    expected = plain_picture(
        with_scheduler(*plain(model, pipeline), scheduler),
        11,
        prompt=PROMPT,
        negative_prompt="blurry",
        num_inference_steps=3,
        guidance_scale=5.0,
        **own_arguments(pipeline, strength),
    )
    assert got.pixels.shape == (64, 64, 3)
    np.testing.assert_array_equal(got.pixels, expected)


@pytest.mark.parametrize(("model", "pipeline"), COMBINATIONS)
def test_three_images_take_consecutive_seeds(
    room: Any, plain: Plain, slots: MakeSlots, model: str, pipeline: str
) -> None:
    got = [
        room.render([slot], lambda: None)[0]
        for slot in slots(pipeline, 3, model=model, strength=None if pipeline in ("txt2img", "upscale") else 0.9)
    ]
    pipe = with_scheduler(*plain(model, pipeline), None)
    arguments = own_arguments(pipeline, 0.9) | ({"noise_level": 20} if pipeline == "upscale" else {})
    for number, picture in enumerate(got):
        expected = plain_picture(
            pipe,
            11 + number,
            prompt="a red square left of a blue circle",
            num_inference_steps=3,
            guidance_scale=5.0,
            **arguments,
        )
        np.testing.assert_array_equal(picture.pixels, expected)
    assert len({picture.pixels.tobytes() for picture in got}) == 3


@pytest.mark.parametrize("strength", [0.34, 0.5, 1.0])
@pytest.mark.parametrize(
    ("model", "pipeline"), [pair for pair in COMBINATIONS if pair[1] in ("img2img", "inpaint", "depth2img")]
)
def test_strengths(room: Any, plain: Plain, slots: MakeSlots, model: str, pipeline: str, strength: float) -> None:
    (got,) = room.render(slots(pipeline, model=model, strength=strength), lambda: None)
    expected = plain_picture(
        with_scheduler(*plain(model, pipeline), None),
        11,
        prompt="a red square left of a blue circle",
        num_inference_steps=3,
        guidance_scale=5.0,
        **own_arguments(pipeline, strength),
    )
    np.testing.assert_array_equal(got.pixels, expected)


@pytest.mark.parametrize(
    ("row", "call"),
    [
        ({"guidance_scale": 1.0, "negative_prompt": "x"}, {"guidance_scale": 1.0, "negative_prompt": "x"}),
        ({"guidance_scale": 0.0}, {"guidance_scale": 0.0}),
        ({"clip_skip": 1}, {"clip_skip": 1}),
        ({"clip_skip": 0}, {"clip_skip": 0}),
        ({"width": 96, "height": 40}, {"width": 96, "height": 40}),
        ({"prompt": "x" * 400}, {"prompt": "x" * 400}),
        ({"seed": 2**63 - 1}, {"seed": 2**63 - 1}),
        ({"steps": 1}, {"num_inference_steps": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["tiny", "tiny-2", "tiny-xl"])
def test_other_arguments(
    room: Any, plain: Plain, slots: MakeSlots, model: str, row: dict[str, Any], call: dict[str, Any]
) -> None:
    (got,) = room.render(slots(model=model, **row), lambda: None)
    arguments: dict[str, Any] = {
        "prompt": "a red square left of a blue circle",
        "num_inference_steps": 3,
        "guidance_scale": 5.0,
        "width": 64,
        "height": 64,
        "seed": 11,
        **call,
    }
    expected = plain_picture(with_scheduler(*plain(model, "txt2img"), None), **arguments)
    np.testing.assert_array_equal(got.pixels, expected)


def test_no_negative_prompt_is_not_an_empty_one_in_xl(room: Any, plain: Plain, slots: MakeSlots) -> None:
    """SDXL takes zeros where no negative prompt is given, and states of an empty text where "" is given."""
    (got,) = room.render(slots(model="tiny-xl", negative_prompt=""), lambda: None)
    pipe = with_scheduler(*plain("tiny-xl", "txt2img"), None)
    arguments = {"num_inference_steps": 3, "guidance_scale": 5.0, "width": 64, "height": 64}
    prompt = "a red square left of a blue circle"
    without = plain_picture(pipe, 11, prompt=prompt, **arguments)
    with_scheduler(*plain("tiny-xl", "txt2img"), None)
    with_empty = plain_picture(pipe, 11, prompt=prompt, negative_prompt="", **arguments)
    np.testing.assert_array_equal(got.pixels, without)
    assert (without != with_empty).any()


@pytest.fixture(scope="module")
def folder_room(tmp_path_factory: pytest.TempPathFactory, roots: Callable[[str], Path]) -> Any:
    """A room whose catalogue names copies of the built-in folders as local ones, each one source for all."""
    place = tmp_path_factory.mktemp("own")
    tables = []
    for model, family in (("tiny", "sd1"), ("tiny-xl", "sdxl")):
        shutil.copytree(roots(model) / "base", place / model)
        tables.append(
            f'[own-{model}]\nsource = "./{model}"\nfamily = "{family}"\npipelines = ["txt2img", "img2img", "inpaint"]\n'
        )
    # Stable Diffusion 1.4 still names the image processor so, which transformers 5 no longer has.
    index = place / "tiny/model_index.json"
    index.write_text(index.read_text().replace("CLIPImageProcessor", "CLIPFeatureExtractor"))
    (place / "models.toml").write_text("\n".join(tables))
    settings = load_settings(models_file=place / "models.toml", data_dir=place, worker={"device": "cpu", "exact": True})
    return open_room(settings)


@pytest.mark.parametrize("strength", [0.7, 1.0])
@pytest.mark.parametrize("model", ["tiny", "tiny-xl"])
def test_inpainting_with_a_plain_unet_of_a_local_folder(
    folder_room: Any, roots: Callable[[str], Path], slots: MakeSlots, model: str, strength: float
) -> None:
    import diffusers

    (got,) = folder_room.render(slots("inpaint", model=f"own-{model}", strength=strength), lambda: None)
    kind = getattr(diffusers, CLASSES["inpaint", model == "tiny-xl"])
    pipe = kind.from_pretrained(roots(model) / "base", use_safetensors=True)
    expected = plain_picture(
        pipe,
        11,
        prompt="a red square left of a blue circle",
        num_inference_steps=3,
        guidance_scale=5.0,
        **own_arguments("inpaint", strength),
    )
    np.testing.assert_array_equal(got.pixels, expected)
    assert got.flagged is (False if model == "tiny" else None)


@pytest.mark.parametrize("pipeline", ["txt2img", "img2img"])
def test_half_precision_casts_the_vae_as_diffusers_does(
    make_room: Callable[..., Any], roots: Callable[[str], Path], slots: MakeSlots, pipeline: str
) -> None:
    import diffusers
    import torch

    strength = None if pipeline == "txt2img" else 0.7
    half = make_room(exact=True, dtype="float16")
    (got,) = half.render(slots(pipeline, model="tiny-xl", strength=strength), lambda: None)
    kind = getattr(diffusers, CLASSES[pipeline, True])
    pipe = kind.from_pretrained(roots("tiny-xl") / "base", use_safetensors=True, dtype=torch.float16)
    expected = plain_picture(
        pipe,
        11,
        prompt="a red square left of a blue circle",
        num_inference_steps=3,
        guidance_scale=5.0,
        **own_arguments(pipeline, 0.7),
    )
    np.testing.assert_array_equal(got.pixels, expected)
    assert half.info(slots(model="tiny-xl")[0].row).dtype == "float16"
