"""Which columns are ours, nearly ours, or the user's own."""

import pytest

from orchestrator.manifests.names import COLUMN_FIELDS, edit_distance, near_field, near_scheduler
from schemas.rows import FIELD_NAMES

# Columns of published data sets and of people's own sheets.
USERS_OWN = (  # noqa: SIM905 - a hundred words are easier to read so
    "Category Challenge Note note notes caption text title url image_url image_id prompt_id "
    "prompt_en file_name filename width_cm source split label labels tag tags score aesthetic "
    "index idx name row number hash sha256 date time timestamp language lang "
    "author artist user group set class count rank weight weights comment task "
    "section style subject type kind size cost price sku product description alt "
    "keywords license nsfw punsafe similarity clip_score watermark original version part step_count subset "
    "domain color colour material view angle scene lighting batch job order priority "
).split()


@pytest.mark.parametrize("name", USERS_OWN)
def test_columns_that_people_have_are_kept_without_complaint(name: str) -> None:
    assert near_field(name) is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("cfg_sacle", "guidance_scale"),
        ("cfg", "guidance_scale"),
        ("CFG Scale", "guidance_scale"),
        ("guidence_scale", "guidance_scale"),
        ("promt", "prompt"),
        ("Prompt", "prompt"),
        ("PROMPT ", "prompt"),
        ("rompt", "prompt"),
        ("negative prompt", "negative_prompt"),
        ("Negative-Prompt", "negative_prompt"),
        ("negativ_promt", "negative_prompt"),
        ("negative", "negative_prompt"),
        ("sampler", "scheduler"),
        ("sampler_nmae", "scheduler"),
        ("schedular", "scheduler"),
        ("n_iter", "num_images"),
        ("init_image", "image"),
        ("denoising_strength", "strength"),
        ("sd_model", "model"),
        ("num_inference_steps", "steps"),
        ("step", "steps"),
        ("widht", "width"),
        ("hieght", "height"),
        ("sede", "seed"),
        ("esed", "seed"),
        ("ID", "id"),
        ("lora", "loras"),
        ("wieghting", "weighting"),
    ],
)
def test_a_name_that_is_nearly_ours_is_found(name: str, field: str) -> None:
    assert near_field(name) == field


def test_every_field_is_near_itself_in_any_case() -> None:
    assert {name: near_field(name.upper()) for name in COLUMN_FIELDS} == {name: name for name in COLUMN_FIELDS}
    assert {"extra"} == FIELD_NAMES - COLUMN_FIELDS


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [
        ("", "abc", 3),
        ("abc", "abc", 0),
        ("abc", "acb", 1),
        ("abc", "ab", 1),
        ("abc", "xbc", 1),
        ("kitten", "sitting", 3),
    ],
)
def test_edit_distance_counts_slips(left: str, right: str, distance: int) -> None:
    assert edit_distance(left, right) == edit_distance(right, left) == distance


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("Euler a", "euler_a"),
        ("k_euler_ancestral", "euler_a"),
        ("k_lms", "lms"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("DPM++ SDE", "dpmpp_sde"),
        ("PLMS", "pndm"),
        ("ueler", "euler"),
        ("zzzz", None),
    ],
)
def test_a_scheduler_of_another_tool_is_found(name: str, scheduler: str | None) -> None:
    assert near_scheduler(name) == scheduler
