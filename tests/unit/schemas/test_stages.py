"""Chains: the stages of a row as authored and as planned, their sizes, their cost, and what made each image."""

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.planned import InputImage, PlannedRow, PlannedStage, Tiling
from schemas.rows import MAX_THEN, STAGE_TYPES, Txt2Img
from schemas.task import TaskRecord

ROW: dict[str, Any] = {
    "index": 3,
    "id": "cat",
    "pipeline": "txt2img",
    "model": "tiny",
    "prompt": "a cat",
    "width": 512,
    "height": 512,
    "steps": 50,
    "guidance_scale": 7.5,
    "seed": 1,
    "scheduler": None,
}
STAGE = ROW | {"prompt": "a sharp cat"}
UPSCALE = {name: value for name, value in STAGE.items() if name in PlannedStage.model_fields} | {
    "pipeline": "upscale",
    "model": "upscaler",
    "width": 2048,
    "height": 2048,
    "noise_level": 20,
}


def stage(**changes: Any) -> dict[str, Any]:
    return UPSCALE | changes


def row(*then: dict[str, Any], **changes: Any) -> PlannedRow:
    return PlannedRow.model_validate(ROW | changes | {"then": then})


REDRAW = stage(pipeline="img2img", model="tiny", width=None, height=None, strength=0.5, noise_level=None)


class TestAuthored:
    def test_a_stage_takes_the_fields_of_its_pipeline_and_no_input_image(self) -> None:
        authored = Txt2Img.model_validate({"prompt": "a", "then": [{"pipeline": "upscale", "noise_level": 3}]})
        assert authored.then[0].model_dump(exclude_none=True) == {"pipeline": "upscale", "noise_level": 3}
        for wrong in ({"width": 8}, {"image": "a.png"}, {"num_images": 2}):
            with pytest.raises(ValidationError):
                Txt2Img.model_validate({"prompt": "a", "then": [{"pipeline": "upscale"} | wrong]})

    def test_there_are_so_many_stages_and_no_more(self) -> None:
        stages = [{"pipeline": "upscale"}] * MAX_THEN
        assert len(Txt2Img.model_validate({"prompt": "a", "then": stages}).then) == MAX_THEN
        with pytest.raises(ValidationError):
            Txt2Img.model_validate({"prompt": "a", "then": [*stages, {"pipeline": "upscale"}]})

    def test_every_field_of_a_stage_has_its_place_in_the_plan_and_is_described(self) -> None:
        for kind in STAGE_TYPES.values():
            assert set(kind.model_fields) <= set(PlannedStage.model_fields)
            assert [name for name, info in kind.model_fields.items() if not info.description] == ["pipeline"]


class TestPlanned:
    def test_what_decides_a_loop_is_a_stages_own(self) -> None:
        """A field of the loop that a stage lacked would be taken from the row's first stage."""
        of_the_row = {
            "v",
            "index",
            "id",
            "num_images",
            "image",
            "format",
            "quality",
            "extra",
            "coordinates",
            "then",
            "keep",
        }
        assert set(PlannedStage.model_fields) == set(PlannedRow.model_fields) - of_the_row

    def test_a_stage_as_a_row_is_that_stage_alone(self) -> None:
        chained = row(stage(), image=InputImage(address="a"), keep="all")
        assert chained.at_stage(0) == row(image=InputImage(address="a"))
        second = chained.at_stage(1)
        assert (second.pipeline, second.model, second.prompt, second.width) == (
            "upscale",
            "upscaler",
            "a sharp cat",
            2048,
        )
        assert (second.index, second.id, second.image, second.then, second.stage_count) == (3, "cat", None, (), 1)

    @pytest.mark.parametrize("changes", [{"model": "other"}, {"steps": 3}, {"noise_level": 1}, {"width": 8}])
    def test_rows_with_other_stages_share_no_batch_key(self, changes: dict[str, Any]) -> None:
        assert row(stage(**changes)).batch_key() != row(stage()).batch_key()
        assert row(stage()).batch_key() != row().batch_key()

    @pytest.mark.parametrize("changes", [{"prompt": "b"}, {"negative_prompt": "c"}, {"seed": 9}])
    def test_what_is_of_the_image_is_not_of_the_key(self, changes: dict[str, Any]) -> None:
        assert row(stage(**changes)).batch_key() == row(stage()).batch_key()

    def test_stages_are_named_by_pipeline_and_model(self) -> None:
        assert row().stages() == (("txt2img", "tiny"),)
        assert row(stage()).stages() == (("txt2img", "tiny"), ("upscale", "upscaler"))

    def test_units_add_up_over_stages_and_images(self) -> None:
        assert row(stage(steps=75), num_images=2).units() == 2 * (1 + 24)

    def test_an_unknown_size_counts_as_512_and_is_followed_through(self) -> None:
        unknown = stage(width=None, height=None, steps=50)
        assert row(unknown, width=None, height=None).units() == 1 + 16

    def test_sizes_follow_from_the_first_one(self) -> None:
        chained = row(
            REDRAW,
            stage(width=None, height=None),
            REDRAW | {"width": 1280},
            width=None,
            height=None,
        ).sized(96, 64)
        assert [(part.width, part.height) for part in chained.then] == [(96, 64), (384, 256), (1280, 256)]

    def test_a_rule_for_tiles_stays_only_where_the_size_is_over_it(self) -> None:
        tiling = Tiling(over=384 * 256, window=64, overlap=8)
        chained = row(stage(width=None, height=None, tiling=tiling), width=None, height=None)
        assert chained.sized(96, 64).then[0].tiling is None
        assert chained.sized(96, 72).then[0].tiling == tiling

    def test_kept_images_are_of_the_last_stage_or_of_all(self) -> None:
        assert row(stage(), num_images=3).kept_images() == 3
        assert row(stage(), num_images=3, keep="all").kept_images() == 6

    def test_a_chain_survives_the_plan(self) -> None:
        before = row(stage(), REDRAW | {"mask": InputImage(address="m", sha256="s")}, keep="all")
        assert PlannedRow.model_validate_json(before.model_dump_json(exclude_defaults=True)) == before


class TestRecipe:
    def test_a_row_of_one_stage_says_nothing_of_stages(self) -> None:
        assert not {"then", "keep", "tiling"} & row().recipe().keys()

    def test_it_holds_the_stages_up_to_the_one_that_made_the_image(self) -> None:
        chained = row(REDRAW, stage(), keep="all")
        assert "then" not in chained.recipe(0)
        assert chained.recipe(0) == row().recipe()
        assert [part["pipeline"] for part in chained.recipe(1)["then"]] == ["img2img"]
        assert chained.recipe() == chained.recipe(2)
        assert [part["pipeline"] for part in chained.recipe()["then"]] == ["img2img", "upscale"]

    def test_which_images_are_kept_made_none_of_them(self) -> None:
        assert row(stage(), keep="all").recipe() == row(stage()).recipe()

    def test_it_gives_back_the_row(self) -> None:
        chained = row(REDRAW, stage())
        found = {"index": 3, "scheduler": None, "width": None, "height": None} | chained.recipe()
        found["then"] = [{"scheduler": None, "width": None, "height": None} | part for part in found["then"]]
        assert PlannedRow.model_validate(found) == chained


def test_a_task_of_an_earlier_version_has_one_stage() -> None:
    line = {"task": 0, "part": 0, "offset": 0, "length": 1, "rows": 1, "images": 1, "units": 1.0}
    record = TaskRecord.model_validate(line | {"pipeline": "txt2img", "model": "tiny"})
    assert [(part.pipeline, part.model) for part in record.stages] == [("txt2img", "tiny")]
