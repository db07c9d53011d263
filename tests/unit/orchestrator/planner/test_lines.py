"""Lines of the plan made from prototypes say what a row resolved on its own says."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.lines import LinePlanner
from orchestrator.planner.resolve import resolve
from schemas.planned import InputImage, PlannedRow
from schemas.rows import ROW_ADAPTER, Row
from services.catalogue import Catalogue

CATALOGUE = Catalogue.load()
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: text.strip())
COMMON = {
    "pipeline": st.just("txt2img"),
    "prompt": TEXT,
    "negative_prompt": st.none() | TEXT,
    "model": st.sampled_from(["tiny", "tiny-2"]),
    "id": st.none() | st.sampled_from(["a", "b-1"]),
    "seed": st.none() | st.integers(0, 2**63 - 100),
    "steps": st.none() | st.sampled_from([2, 30]),
    "guidance_scale": st.none() | st.sampled_from([0, 1.5]),
    "num_images": st.none() | st.integers(1, 3),
    "format": st.sampled_from([None, "png", "jpeg", "webp"]),
    "extra": st.dictionaries(TEXT, st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT),
}
ROWS = st.fixed_dictionaries(COMMON | {"width": st.sampled_from([None, 64, 128])}).map(ROW_ADAPTER.validate_python)
INPUTS = {
    "image": PlannedInput(InputImage(address="inputs/a.png", sha256="0" * 64), (64, 48)),
    "mask": PlannedInput(InputImage(address="s3://bucket/mask.png"), None),
}


def as_resolved(planner: LinePlanner, row: Row, index: int, inputs: dict[str, PlannedInput]) -> None:
    """The line, and all that the planner asks of it, are those of the row resolved on its own."""
    alone = resolve(row, index=index, job="job", catalogue=CATALOGUE, inputs=inputs, coordinates={"x": index})
    planned = planner.plan(row, planner.prototype(row, inputs), index, inputs, {"x": index})
    assert PlannedRow.model_validate_json(planned.line()) == alone
    assert planned.line().endswith(b"}\n")
    asked = (planned.batch_key(), planned.stages(), planned.units(), planned.num_images, planned.kept_images())
    assert asked == (alone.batch_key(), alone.stages(), alone.units(), alone.num_images, alone.kept_images())


@given(st.lists(ROWS, max_size=8))
def test_of_rows_that_share_settings_and_of_rows_that_do_not(rows: list[Row]) -> None:
    planner = LinePlanner("job", CATALOGUE)
    for index, row in enumerate(rows):
        as_resolved(planner, row, index, {})


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"pipeline": "img2img", "image": "a.png"}, ["image"]),
        ({"pipeline": "inpaint", "image": "a.png", "mask": "m.png"}, ["image", "mask"]),
        ({"pipeline": "upscale", "image": "a.png"}, ["image"]),
        ({"then": [{"pipeline": "img2img", "width": 128}]}, []),
        ({"then": [{"pipeline": "img2img", "prompt": "", "negative_prompt": "x", "seed": 0}]}, []),
        ({"then": [{"pipeline": "inpaint", "mask": "m.png"}, {"pipeline": "upscale"}], "keep": "all"}, []),
        ({"pipeline": "img2img", "image": "a.png", "then": [{"pipeline": "upscale", "prompt": "sharp"}]}, ["image"]),
    ],
)
def test_of_rows_with_inputs_and_with_stages(fields: dict[str, Any], names: list[str]) -> None:
    planner = LinePlanner("job", CATALOGUE)
    for index in range(3):
        row = ROW_ADAPTER.validate_python({"pipeline": "txt2img", "prompt": f"p{index}", "model": "tiny"} | fields)
        as_resolved(planner, row, index, {name: INPUTS[name] for name in names})


STAGES = st.fixed_dictionaries(
    {
        "pipeline": st.sampled_from(["img2img", "upscale", "depth2img"]),
        "prompt": st.none() | st.just("") | TEXT,
        "negative_prompt": st.none() | st.just("") | TEXT,
        "seed": st.none() | st.integers(0, 2**63 - 100),
        "steps": st.sampled_from([None, 3]),
    }
)
CHAINS = st.fixed_dictionaries(
    {
        "pipeline": st.just("txt2img"),
        "prompt": TEXT,
        "negative_prompt": st.none() | st.just("") | TEXT,
        "model": st.just("tiny"),
        "seed": st.none() | st.integers(0, 9),
        "then": st.lists(STAGES, max_size=2),
        "keep": st.sampled_from([None, "all"]),
    }
).map(ROW_ADAPTER.validate_python)


@settings(max_examples=60)
@given(st.lists(CHAINS, max_size=6))
def test_of_chains_whose_stages_share_something_and_of_those_that_do_not(rows: list[Row]) -> None:
    planner = LinePlanner("job", CATALOGUE)
    for index, row in enumerate(rows + rows):
        as_resolved(planner, row, index, {})


def test_chains_with_equal_stages_share_a_prototype() -> None:
    planner = LinePlanner("job", CATALOGUE)
    rows = [
        ROW_ADAPTER.validate_python(
            {"pipeline": "txt2img", "prompt": f"p{index}", "model": "tiny", "then": [{"pipeline": "upscale"}]}
        )
        for index in range(2)
    ]
    assert planner.prototype(rows[0]) is planner.prototype(rows[1])


def test_an_input_of_another_size_makes_another_prototype() -> None:
    planner = LinePlanner("job", CATALOGUE)
    row = ROW_ADAPTER.validate_python({"pipeline": "upscale", "image": "a.png", "model": "tiny"})
    sizes = [(64, 48), (128, 96)]
    inputs = [{"image": PlannedInput(INPUTS["image"].image, size)} for size in sizes]
    assert [planner.prototype(row, found).first.width for found in inputs] == [256, 512]


def test_a_whole_number_of_more_than_64_bits_is_kept() -> None:
    planner = LinePlanner("job", CATALOGUE)
    row = ROW_ADAPTER.validate_python({"pipeline": "txt2img", "prompt": "a", "model": "tiny", "extra": {"n": 10**30}})
    as_resolved(planner, row, 0, {})


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.planner.lines._MOST_REMEMBERED", 3)
    planner = LinePlanner("job", CATALOGUE)
    for steps in range(1, 20):
        row = ROW_ADAPTER.validate_python({"pipeline": "txt2img", "prompt": "a", "model": "tiny", "steps": steps})
        as_resolved(planner, row, steps, {})
        assert len(planner._known) <= 3
