"""Lint of chains: every stage is looked at as a row is, and its recipe is part of the row's."""

from pathlib import Path
from typing import Any

import pytest
from lint_lines import lines, texts
from PIL import Image

from orchestrator.lint.prompts import TOO_LONG
from orchestrator.lint.recipes import SAME_RECIPE
from orchestrator.lint.weights import WEIGHTED
from schemas.errors import ManifestError

LONG = " ".join(["word"] * 100)
SHAPES = ", ".join(["a red circle on a blue background"] * 12)
IMG2IMG = {"pipeline": "img2img"}


def then(*stages: dict[str, Any], **row: Any) -> dict[str, Any]:
    return {"then": [IMG2IMG | stage for stage in stages], "seed": 1, **row}


def test_chains_that_differ_in_a_stage_are_not_the_same_recipe(report: Any) -> None:
    rows = (then({"strength": 0.3}), then({"strength": 0.6}), {"seed": 1}, then({"strength": 0.3}, {}))
    assert report(*rows, strict=True).warnings == ()


@pytest.mark.parametrize("stage", [{"prompt": "a hen"}, {"negative_prompt": "grey"}, {"seed": 2}, {"model": "shapes"}])
def test_a_stage_that_gives_something_itself_is_another_recipe(report: Any, stage: dict[str, Any]) -> None:
    assert SAME_RECIPE not in [kind for _, kind, _ in lines(report(then({}), then(stage)))]


@pytest.mark.parametrize("stage", [{}, {"prompt": "a fox"}, {"negative_prompt": ""}, {"seed": 1}, {"model": "sd15"}])
def test_a_stage_that_says_what_it_would_inherit_is_the_same(report: Any, stage: dict[str, Any]) -> None:
    assert lines(report(then({}), then(stage), then({}, keep="all"))) == [(None, SAME_RECIPE, [2, 3])]


def test_what_a_stage_inherits_is_each_rows_own(report: Any) -> None:
    rows = (then({}), then({}, prompt="a hen"), then({}, seed=2), then({}, negative_prompt="grey"))
    assert lines(report(*rows)) == []


def test_masks_of_stages_are_compared_by_content(report: Any, tmp_path: Path) -> None:
    for name, colour in [("a", 255), ("b", 255), ("c", 0)]:
        Image.new("L", (512, 512), colour).save(tmp_path / f"{name}.png")
    rows = [{"seed": 1, "then": [{"pipeline": "inpaint", "mask": f"{name}.png"}]} for name in "abc"]
    assert lines(report(*rows)) == [(None, SAME_RECIPE, [2])]


def test_settings_and_prompts_of_a_stage_are_looked_at_and_named(report: Any) -> None:
    stages = (
        {"prompt": LONG, "negative_prompt": LONG},
        {"model": "sdxl-turbo", "steps": 80, "guidance_scale": 9, "width": 64, "height": 64},
    )
    assert {(field, tuple(places)) for field, _, places in lines(report(then(*stages), then(*stages, seed=2)))} == {
        ("then[0].prompt", (1, 2)),
        ("then[0].negative_prompt", (1, 2)),
        ("then[1].steps", (1, 2)),
        ("then[1].guidance_scale", (1, 2)),
        ("then[1].width", (1, 2)),
    }


def test_the_value_of_a_stage_is_shown(report: Any) -> None:
    (told,) = texts(report(then({"model": "sd-turbo", "steps": 80})))
    assert told.startswith("line 1, then[0].steps = 80: more steps than sd-turbo can use")


def test_a_size_is_told_of_the_stage_that_it_comes_from(report: Any) -> None:
    small = {"width": 256, "height": 256}
    assert [field for field, _, _ in lines(report(then({}, **small)))] == ["width"]
    told = [field for field, _, _ in lines(report(then({"model": "sdxl"}, width=512, height=512)))]
    assert told == ["then[0].model"]


def test_the_rows_prompt_is_counted_for_every_model_that_reads_it(report: Any, no_hub: Path) -> None:
    # Of sd15 there is no tokenizer here, so that 60 words are not too long for certain; of shapes there is one.
    long = "red, " * 60
    found = report({"prompt": long}, then({"model": "shapes"}, prompt=long, negative_prompt=long))
    assert sorted(lines(found)) == [("negative_prompt", TOO_LONG, [2]), ("prompt", TOO_LONG, [2])]
    assert "tokens, 45 are cut off by shapes; weighting: compel reads all" in texts(found)[0]
    assert found.notes[0].startswith("3 long prompts were not counted: the tokenizer of sd15")


def test_a_prompt_that_every_stage_reads_whole_is_silent(report: Any) -> None:
    found = report(then({"model": "shapes"}, prompt=SHAPES, weighting="compel"))
    assert (lines(found), found.notes) == ([], ())


def test_a_stage_with_a_prompt_of_its_own_does_not_read_the_rows(report: Any) -> None:
    found = report(then({"prompt": "a hen", "model": "shapes"}, prompt="red, " * 60))
    assert lines(found) == []


def test_weights_that_are_text_in_a_stage_are_a_warning(report: Any) -> None:
    rows = (then({"negative_prompt": "(bad:1.3)"}), then({"prompt": "(bad:1.3)", "weighting": "a1111"}))
    assert lines(report(*rows)) == [("then[0].negative_prompt", WEIGHTED, [1])]


def test_an_unknown_lora_of_a_stage_is_shown_by_its_name(report: Any) -> None:
    with pytest.raises(ManifestError) as caught:
        report(then({"loras": [{"name": "nope"}]}), {"loras": [{"name": "nothing"}]})
    assert [str(fault).partition(":")[0] for fault in caught.value.faults] == [
        "line 1, then[0].loras = nope",
        "line 2, loras = nothing",
    ]
