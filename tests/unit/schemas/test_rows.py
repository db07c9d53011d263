"""Rows as authored."""

import pytest
from pydantic import ValidationError

from schemas.planned import PlannedRow
from schemas.rows import ROW_ADAPTER, ROW_TYPES, Inpaint, Txt2Img, default_row_id


@pytest.mark.parametrize("row_id", ["a", "000042", "row-1", "été 3", "日本", "a.b", "x@y+z=(1),#2", "9" * 120])
def test_ids_that_name_files_are_accepted(row_id: str) -> None:
    assert Txt2Img(id=row_id, prompt="x").id == row_id


@pytest.mark.parametrize(
    "row_id",
    [
        "",
        ".a",
        "_a",
        "-a",
        " a",
        "a ",
        "a.",
        "a/b",
        "a\\b",
        "..",
        "../x",
        "a\n",
        "a\x00",
        "a\x7fb",
        "a:b",
        "a*",
        "x" * 121,
    ],
)
def test_ids_that_could_leave_the_folder_or_break_a_file_name_are_refused(row_id: str) -> None:
    with pytest.raises(ValidationError):
        Txt2Img(id=row_id, prompt="x")


def test_a_default_id_is_an_id_and_sorts_as_its_number() -> None:
    ids = [default_row_id(index) for index in (0, 9, 10, 999_999)]
    assert ids == sorted(ids) == ["000000", "000009", "000010", "999999"]
    assert all(Txt2Img(id=row_id, prompt="x").id == row_id for row_id in ids)


def test_the_pipeline_decides_which_fields_there_are() -> None:
    row = ROW_ADAPTER.validate_python({"pipeline": "inpaint", "image": "a", "mask": "b"})
    assert isinstance(row, Inpaint)
    with pytest.raises(ValidationError):
        ROW_ADAPTER.validate_python({"pipeline": "upscale", "image": "a", "width": 64})


def test_only_txt2img_needs_a_prompt() -> None:
    for name, row_type in ROW_TYPES.items():
        fields = {"image": "a"} | ({"mask": "b"} if name == "inpaint" else {})
        if name == "txt2img":
            with pytest.raises(ValidationError):
                row_type(prompt=" \t")
        else:
            assert row_type.model_validate({"pipeline": name} | fields).prompt == ""


def test_every_field_of_a_row_has_its_place_in_the_plan() -> None:
    for row_type in ROW_TYPES.values():
        assert set(row_type.model_fields) <= set(PlannedRow.model_fields)


def test_every_field_is_described() -> None:
    for row_type in ROW_TYPES.values():
        undescribed = [name for name, info in row_type.model_fields.items() if not info.description]
        assert undescribed in ([], ["pipeline"])
