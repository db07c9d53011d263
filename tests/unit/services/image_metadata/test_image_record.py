"""Our own key: exact, deterministic, and free of anything that did not make the image."""

import json
from typing import Any

import pytest

from schemas.errors import InvalidInput
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services.image_metadata.record import ImageRecord, format_record, image_record, parse_record, planned_row

RENDER = RenderInfo(
    device="cpu",
    dtype="float32",
    versions={"torch": "2.13.0", "diffusers": "0.42.1"},
    model_source="builtin:tiny",
    model_revision=None,
    safety="keep",
)
SHA = "ab" * 32


def planned(**changes: Any) -> PlannedRow:
    values: dict[str, Any] = {
        "index": 7,
        "id": "港 1",
        "pipeline": "txt2img",
        "model": "tiny",
        "prompt": '夜の港\n"quoted" 🐈 \\',
        "width": 512,
        "height": 512,
        "steps": 4,
        "guidance_scale": 7.5,
        "seed": 2**63 - 2,
        "scheduler": None,
        "num_images": 2,
        "extra": {"Category": "Animals", "nested": {"a": [1]}},
    }
    return PlannedRow.model_validate(values | changes)


def record(row: PlannedRow, **changes: Any) -> ImageRecord:
    values: dict[str, Any] = {
        "number": 1,
        "seed": row.seed + 1,
        "width": 512,
        "height": 512,
        "batch_size": 4,
        "slot": 2,
        "inputs": {},
        "render": RENDER,
        "version": "0.1.0",
    }
    return image_record(row, **(values | changes))


def test_reads_back_exactly() -> None:
    made = record(planned())
    assert parse_record(format_record(made)) == made


def test_gives_back_the_row_that_made_it_without_the_users_columns() -> None:
    row = planned()
    back = planned_row(parse_record(format_record(record(row))), index=7)
    assert back == row.model_copy(update={"extra": {}})


def test_holds_no_place_in_a_job_and_no_columns_of_the_user() -> None:
    text = format_record(record(planned()))
    assert "Category" not in text
    assert "index" not in json.loads(text)["recipe"]
    assert json.loads(text)["recipe"]["id"] == "港 1"


def test_the_same_recipe_gives_the_same_text() -> None:
    one = record(planned(), render=RENDER)
    other = record(
        planned(index=99, extra={}),
        render=RENDER.model_copy(update={"versions": dict(reversed(RENDER.versions.items()))}),
    )
    assert format_record(one) == format_record(other)


def test_an_uploaded_input_is_named_by_its_content_not_by_its_job() -> None:
    def text(job: str) -> str:
        address = f"jobs/{job}/inputs/{SHA}.png"
        row = planned(pipeline="img2img", strength=0.5, image={"address": address, "sha256": SHA})
        return format_record(record(row, inputs={"image": SHA}))

    assert text("one") == text("two")
    back = planned_row(parse_record(text("one")))
    assert back.image is not None
    assert (back.image.address, back.image.sha256) == (f"sha256:{SHA}", SHA)


def test_a_foreign_input_keeps_its_address_and_gets_its_hash() -> None:
    row = planned(pipeline="img2img", strength=0.5, image={"address": "s3://bucket/cat.png"}, width=None, height=None)
    made = record(row, inputs={"image": SHA})
    assert made.recipe["image"] == {"address": "s3://bucket/cat.png", "sha256": SHA}
    back = planned_row(made)
    assert back.image is not None
    assert back.image.address == "s3://bucket/cat.png"
    assert back.width is None


@pytest.mark.parametrize("text", ["", "{}", "not json", "[1]", '{"v": 1, "recipe": {}}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="own key"):
        parse_record(text)


def test_a_recipe_of_a_later_version_is_refused_by_name() -> None:
    made = record(planned())
    later = made.model_copy(update={"recipe": made.recipe | {"tiling": True}})
    with pytest.raises(InvalidInput, match="tiling"):
        planned_row(later)
