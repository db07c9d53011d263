"""Rows in the words of other tools."""

import json
from typing import Any

import pytest
from manifest_files import Reader

from schemas.rows import Img2Img, Inpaint


def line(**values: Any) -> str:
    return json.dumps({"prompt": "a"} | values) + "\n"


@pytest.mark.parametrize("spelled", [str.lower, str.title, str.upper, lambda name: name.replace(" ", "_")])
def test_dreamstudios_nine_parameters_are_taken_by_their_names(manifest: Reader, spelled: Any) -> None:
    given = {
        "width": 64,
        "height": 128,
        "cfg scale": 7.5,
        "steps": 3,
        "number of images": 2,
        "sampler": "K_EULER_ANCESTRAL",
        "model": "tiny",
        "seed": 5,
        "initial image": "a.png",
    }
    found = manifest("a.jsonl", line(**{spelled(name): value for name, value in given.items()}))
    assert not found.texts
    row = found.rows[0].row
    assert isinstance(row, Img2Img)
    assert (row.width, row.height, row.guidance_scale, row.steps, row.num_images) == (64, 128, 7.5, 3, 2)
    assert (row.scheduler, row.model, row.seed, row.image) == ("euler_a", "tiny", 5, "a.png")


def test_a1111s_names_are_taken(manifest: Reader) -> None:
    given = {"cfg_scale": 7, "sampler_name": "DPM++ 2M Karras", "negative": "b", "n_iter": 3, "sd_model": "tiny"}
    row = manifest("a.jsonl", line(**given)).rows[0].row
    assert (row.guidance_scale, row.scheduler, row.negative_prompt) == (7, "dpmpp_2m_karras", "b")
    assert (row.num_images, row.model) == (3, "tiny")


def test_iterations_and_batch_size_multiply(manifest: Reader) -> None:
    content = "prompt,n_iter,batch_size\na,3,2\na,3,\na,,2\na,,\n"
    assert [row.row.num_images for row in manifest("a.csv", content).rows] == [6, 3, 2, None]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"cfg_scale": 7, "guidance_scale": 7}, "'cfg_scale' and 'guidance_scale' both give guidance_scale"),
        ({"Prompt": "b"}, "'prompt' and 'Prompt' both give prompt"),
        ({"n_iter": 7, "num_images": 7}, "'n_iter' and 'num_images' both give num_images"),
        ({"num_images": 7, "batch_size": 7}, "'num_images' and 'batch_size' both give num_images"),
        ({"init_image": "a", "image": "b", "pipeline": "img2img"}, "'init_image' and 'image' both give image"),
        ({"n_iter": 20, "batch_size": 20}, "n_iter x batch_size = 20 x 20: expected a whole number from 1 to 100"),
        ({"n_iter": "x", "batch_size": 2}, "n_iter x batch_size = x x 2: expected a whole number from 1 to 100"),
        ({"n_iter": 2, "batch_size": 0}, "n_iter x batch_size = 2 x 0: expected a whole number from 1 to 100"),
        ({"n_iter": 2, "batch_size": True}, "n_iter x batch_size = 2 x true: expected a whole number from 1 to 100"),
        ({"sampler": "DPM++ 2S a Karras"}, "DPM++ 2S a has no counterpart in diffusers"),
        ({"sampler": "DPM fast"}, "DPM fast has no counterpart in diffusers"),
        ({"sampler": "k_dpm_adaptive"}, "DPM adaptive has no counterpart in diffusers"),
        ({"sampler": "Euler b"}, "scheduler = Euler b: did you mean euler_"),
        ({"cfg_sacle": 7}, "cfg_sacle: did you mean guidance_scale?"),
        ({"init_image": "a.png", "pipeline": "txt2img"}, "image = a.png: image does not apply to txt2img"),
    ],
)
def test_a_contradiction_or_a_slip_is_a_fault(manifest: Reader, values: dict[str, Any], fault: str) -> None:
    found = manifest("a.jsonl", line(**values))
    assert fault in found.texts[0]
    assert found.faults.total == 1


def test_an_initial_image_asks_for_img2img_and_with_a_mask_for_inpaint(manifest: Reader) -> None:
    content = line(init_image="a.png", denoising_strength=0.5) + line(init_image="a.png", mask="b.png")
    first, second = (row.row for row in manifest("a.jsonl", content).rows)
    assert isinstance(first, Img2Img)
    assert first.strength == 0.5
    assert isinstance(second, Inpaint)
    assert second.mask == "b.png"


def test_a_pipeline_that_is_given_wins_over_the_one_that_an_initial_image_means(manifest: Reader) -> None:
    row = manifest("a.jsonl", line(init_image="a.png", pipeline="depth2img")).rows[0].row
    assert row.pipeline == "depth2img"
    options = {"defaults": {"model": "tiny", "pipeline": "upscale"}}
    assert manifest("a.jsonl", line(init_image="a.png"), **options).rows[0].row.pipeline == "upscale"


@pytest.mark.parametrize("seed", [-1, "-1", -1.0])
def test_a_seed_of_minus_one_is_none_given(manifest: Reader, seed: Any) -> None:
    found = manifest("a.jsonl", line(seed=seed))
    assert not found.texts
    assert found.rows[0].row.seed is None


def test_a_column_can_be_kept_although_another_tool_means_a_field_by_it(manifest: Reader) -> None:
    row = manifest("a.jsonl", line(samples="x", cfg=3), extra_columns=frozenset({"samples"})).rows[0].row
    assert (row.extra, row.guidance_scale) == ({"samples": "x"}, 3)
