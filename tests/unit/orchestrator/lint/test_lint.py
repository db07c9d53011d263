"""What `validate` warns of before anything is spent. None of it is a fault, and what is meant is silent."""

import json
from pathlib import Path
from typing import Any

import pytest
from lint_lines import lines
from PIL import Image

from orchestrator.lint.prompts import TOO_LONG
from orchestrator.lint.recipes import SAME_RECIPE
from orchestrator.lint.weights import WEIGHTED
from schemas.errors import ManifestError

SHAPE = "a red circle on a blue background"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"width": 1024, "height": 1024}, "width"),
        ({"width": 256, "height": 256}, "width"),
        ({"model": "sdxl", "width": 512, "height": 512}, "width"),
        ({"width": 1024, "height": 256}, "width"),
        ({"model": "sd-turbo", "steps": 50}, "steps"),
        ({"model": "sd-turbo", "guidance_scale": 7.5}, "guidance_scale"),
        ({"steps": 2}, "steps"),
    ],
)
def test_a_setting_far_from_what_the_model_was_made_for_is_a_warning(
    report: Any, row: dict[str, Any], field: str
) -> None:
    found = report({}, row, {}, row)
    assert [(group[0], group[2]) for group in lines(found)] == [(field, [2, 4])]


@pytest.mark.parametrize(
    "row",
    [
        {"width": 512, "height": 768},
        {"model": "sdxl", "width": 1344, "height": 768},
        {"model": "sd-turbo", "steps": 4, "guidance_scale": 1},
        {"model": "tiny", "steps": 2},
        {"steps": 20, "guidance_scale": 0},
    ],
)
def test_a_usual_setting_is_none(report: Any, row: dict[str, Any]) -> None:
    assert lines(report(row)) == []


def test_an_input_image_may_be_made_large_and_an_upscaler_may_do_what_it_is_for(report: Any, tmp_path: Path) -> None:
    Image.new("RGB", (1024, 1024)).save(tmp_path / "a.png")
    large = {"pipeline": "img2img", "image": "a.png"}
    upscaled = {"pipeline": "upscale", "image": "a.png", "model": "sd-x4-upscaler"}
    assert lines(report(large, upscaled | {"image": "s3://promptmill/a.png"})) == []


def test_a_prompt_that_is_cut_off_is_a_warning_with_its_tokens(report: Any) -> None:
    found = report({"model": "shapes", "prompt": ", ".join([SHAPE] * 12)}, {"model": "shapes", "prompt": SHAPE})
    assert lines(found) == [("prompt", TOO_LONG, [1])]
    # seven words each, and eleven commas
    assert found.warnings[0].first[0].message.startswith("97 tokens, 20 are cut off")
    assert found.notes == ()


def test_so_is_a_negative_prompt_and_one_that_is_read_whole_is_not(report: Any) -> None:
    long = ", ".join([SHAPE] * 12)
    assert lines(report({"model": "shapes", "negative_prompt": long})) == [("negative_prompt", TOO_LONG, [1])]


def test_without_a_tokenizer_what_is_certain_is_told_and_what_is_not_is_counted(report: Any) -> None:
    certain, uncertain = " ".join(["word"] * 76), " ".join(["wordwordword"] * 30)
    found = report({"prompt": certain}, {"prompt": uncertain}, {"prompt": "short"}, {"prompt": "é" * 40})
    assert lines(found) == [("prompt", TOO_LONG, [1])]
    assert found.notes == (
        "2 long prompts were not counted: the tokenizer of sd15 is not on this machine (promptmill models pull sd15)",
    )


def test_the_tokenizer_of_the_hubs_cache_counts(report: Any, no_hub: Path) -> None:
    # A vocabulary of single letters in CLIP's older files: as many tokens as letters.
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    repository = no_hub / "models--stable-diffusion-v1-5--stable-diffusion-v1-5"
    folder = repository / "snapshots" / "abc" / "tokenizer"
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    found = report({"prompt": "abcde " * 16}, {"prompt": "ABCDE " * 15}, {"prompt": "abcdefghij\n" * 8})
    assert [(fault.line, fault.message[:9]) for fault in found.warnings[0].first] == [
        (1, "82 tokens"),
        (3, "82 tokens"),
    ]
    assert found.notes == ()


def test_a_damaged_tokenizer_is_as_none(report: Any, no_hub: Path) -> None:
    folder = no_hub / "models--stable-diffusion-v1-5--stable-diffusion-v1-5" / "snapshots" / "main" / "tokenizer"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{")
    assert len(report({"prompt": "wordwordword " * 30}).notes) == 1


def test_the_same_recipe_and_seed_twice_is_a_warning_that_names_the_first(report: Any) -> None:
    found = report({"seed": 1}, {"seed": 2}, {"seed": 1, "id": "again", "note": "x"}, {"seed": 1, "steps": 20})
    assert lines(found) == [(None, SAME_RECIPE, [3])]
    assert str(found.warnings[0].first[0]) == "line 3 = again: the same recipe and seed as line 1"


def test_rows_without_a_seed_are_never_the_same(report: Any) -> None:
    assert lines(report({}, {}, {})) == []


def test_two_inputs_with_the_same_content_are_one_recipe(report: Any, tmp_path: Path) -> None:
    for name, colour in [("a", "red"), ("b", "red"), ("c", "blue")]:
        Image.new("RGB", (512, 512), colour).save(tmp_path / f"{name}.png")
    found = report(*({"pipeline": "img2img", "image": f"{name}.png", "seed": 1} for name in "abc"))
    assert lines(found) == [(None, SAME_RECIPE, [2])]


def test_strict_makes_a_fault_of_a_warning(report: Any) -> None:
    with pytest.raises(ManifestError) as caught:
        report({"seed": 1, "id": "a"}, {"seed": 1, "id": "b"}, strict=True)
    assert [group.kind for group in caught.value.groups] == [SAME_RECIPE]


@pytest.mark.parametrize("prompt", ["a (red:1.3) fox", "a fox <lora:ink:0.8>", "((a: .5 ))"])
def test_weights_that_are_text_are_a_warning(report: Any, prompt: str) -> None:
    assert lines(report({}, {"prompt": prompt})) == [("prompt", WEIGHTED, [2])]


@pytest.mark.parametrize("prompt", ["a fox (at 12:30)", "a <b> (c)", "scale (1:2 ratio)", "((fox))", "a fox :)"])
def test_ordinary_brackets_are_none(report: Any, prompt: str) -> None:
    assert lines(report({"prompt": prompt})) == []


def test_weights_in_a_negative_prompt_are_looked_for_as_well(report: Any) -> None:
    found = report({"negative_prompt": "(bad:1.3), <lora:x:1>"}, {"negative_prompt": "bad (12:30)"})
    assert lines(found) == [("negative_prompt", WEIGHTED, [1])]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"seed": 10, "num_images": 4}, {"seed": 12}, "image 0 has the recipe and seed of image 2 of line 1"),
        ({"seed": 12}, {"seed": 10, "num_images": 4}, "image 2 has the recipe and seed of image 0 of line 1"),
        (
            {"seed": 10, "num_images": 4},
            {"seed": 8, "num_images": 4},
            "image 2 has the recipe and seed of image 0 of line 1",
        ),
        ({"seed": 10, "num_images": 4}, {"seed": 10}, "the same recipe and seed as line 1"),
    ],
)
def test_images_of_rows_whose_seeds_overlap_are_the_same(
    report: Any, first: dict[str, Any], second: dict[str, Any], told: str
) -> None:
    found = report(first, second)
    assert lines(found) == [(None, SAME_RECIPE, [2])]
    assert found.warnings[0].first[0].message == told


def test_seeds_that_only_touch_do_not(report: Any) -> None:
    assert lines(report({"seed": 10, "num_images": 4}, {"seed": 14}, {"seed": 9}, {"seed": 11, "steps": 20})) == []


def test_a_stage_with_a_seed_of_its_own_goes_on_with_it_from_image_to_image(report: Any) -> None:
    def row(seed: int, stage_seed: int, **more: Any) -> dict[str, Any]:
        return {"seed": seed, "then": [{"pipeline": "img2img", "seed": stage_seed}], **more}

    found = report(row(10, 100, num_images=4), row(12, 102), row(13, 100), row(13, 102))
    assert lines(found) == [(None, SAME_RECIPE, [2])]
