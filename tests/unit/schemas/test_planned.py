"""Planned rows: what may share a denoising loop, what a row costs, and what made its images."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.planned import InputImage, PlannedRow, Tiling
from schemas.rows import MAX_SEED, RowBase, Txt2Img

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


def row(**changes: Any) -> PlannedRow:
    return PlannedRow.model_validate(ROW | changes)


class TestBatchKey:
    @pytest.mark.parametrize(
        "changes",
        [
            {"index": 4},
            {"id": "dog"},
            {"prompt": "a dog"},
            {"negative_prompt": "blur"},
            {"seed": 2},
            {"num_images": 4},
            {"format": "jpeg", "quality": 90},
            {"extra": {"note": 1}},
            {"coordinates": {"seed": 3}},
            {"image": InputImage(address="a"), "mask": InputImage(address="b")},
        ],
        ids=lambda changes: "+".join(changes),
    )
    def test_rows_that_differ_only_in_this_share_a_loop(self, changes: dict[str, Any]) -> None:
        assert row(**changes).batch_key() == row().batch_key()

    @pytest.mark.parametrize(
        "changes",
        [
            {"model": "tiny-2"},
            {"pipeline": "img2img"},
            {"width": 520},
            {"height": 520},
            {"width": None},
            {"steps": 49},
            {"scheduler": "euler"},
            {"guidance_scale": 7.0},
            {"strength": 0.5},
            {"noise_level": 3},
            {"clip_skip": 1},
            {"tiling": Tiling(over=0)},
        ],
        ids=lambda changes: "+".join(changes),
    )
    def test_rows_that_differ_in_this_do_not(self, changes: dict[str, Any]) -> None:
        assert row(**changes).batch_key() != row().batch_key()

    def test_every_field_is_either_of_the_loop_or_of_the_image(self) -> None:
        """A new field must be put on one side: forgotten, rows would be rendered with another row's value."""
        of_the_image = {"v", "index", "id", "prompt", "negative_prompt", "seed", "num_images", "image", "mask"}
        of_the_image |= {"format", "quality", "keep", "extra", "coordinates", "weighting"}
        # `then` adds a key for each of its stages.
        assert len(row().batch_key()) == len(PlannedRow.model_fields.keys() - of_the_image - {"then"})


class TestUnits:
    def test_512_pixels_square_at_50_steps_cost_1(self) -> None:
        assert row().units() == 1.0

    def test_each_image_costs(self) -> None:
        assert row(num_images=4, width=1024).units() == 8.0

    def test_a_size_that_only_the_worker_will_see_counts_as_512(self) -> None:
        assert row(width=None, height=None).units() == 1.0


class TestRecipe:
    def test_it_holds_what_made_the_image_and_no_place_in_a_job(self) -> None:
        recipe = row(extra={"note": 1}).recipe()
        assert {"prompt", "seed", "steps", "model", "width"} <= recipe.keys()
        assert not {"index", "extra", "scheduler", "job"} & recipe.keys()

    def test_the_same_row_at_another_place_has_the_same_recipe(self) -> None:
        assert row(index=9, extra={"a": 1}, coordinates={"steps": 1}).recipe() == row().recipe()


NESTED = st.recursive(st.none() | st.text(max_size=20) | st.integers(-(2**53), 2**53), st.lists, max_leaves=5)


@settings(max_examples=50)
@given(st.text(max_size=200), st.dictionaries(st.text(max_size=20), NESTED, max_size=4))
def test_a_prompt_in_any_script_survives_the_plan(prompt: str, extra: dict[str, Any]) -> None:
    before = row(prompt=prompt, extra=extra)
    line = before.model_dump_json(exclude_defaults=True).encode()
    assert PlannedRow.model_validate_json(line) == before
    assert len(line.splitlines()) == 1


def test_the_last_image_of_the_largest_row_has_a_seed_that_fits() -> None:
    """`metadata.parquet` and most readers hold seeds in 64 bits with a sign."""
    most_images = next(meta.le for meta in RowBase.model_fields["num_images"].metadata if hasattr(meta, "le"))
    assert Txt2Img(prompt="a", seed=MAX_SEED).seed == MAX_SEED
    assert MAX_SEED + most_images - 1 == 2**63 - 1
