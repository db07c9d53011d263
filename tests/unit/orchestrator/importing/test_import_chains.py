"""The image of a chain gives back the row with the stages that made it."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.resolve import resolve
from schemas.planned import InputImage, PlannedRow, Tiling
from schemas.rows import ROW_ADAPTER
from services.catalogue import Catalogue
from services.image_metadata.record import StageRecord, format_record, image_record
from tests.unit.orchestrator.importing.imported_images import RENDER, imported, planned, png

MASK = "cd" * 32
STAGE: dict[str, Any] = {
    "model": "tiny",
    "prompt": "sharp",
    "width": 64,
    "height": 64,
    "steps": 3,
    "guidance_scale": 7.5,
    "seed": 500,
    "scheduler": None,
}
INPAINT = STAGE | {"pipeline": "inpaint", "mask": {"address": "jobs/j/inputs/m.png", "sha256": MASK}, "strength": 1.0}
# 1024 x 1024 is the largest that `tiny` makes in one piece.
UPSCALE = STAGE | {"pipeline": "upscale", "width": 256, "height": 256, "noise_level": 20}
ROW = planned(then=[INPAINT, UPSCALE], num_images=2)


def image(path: Path, row: PlannedRow, number: int, stage: int) -> Path:
    view = row.at_stage(stage)
    before = [StageRecord(seed=1, width=64, height=64, batch_size=1, slot=0, render=RENDER) for _ in range(stage)]
    record = image_record(
        row,
        number=number,
        seed=view.seed + number,
        width=view.width or 8,
        height=view.height or 8,
        batch_size=1,
        slot=0,
        inputs={},
        render=RENDER,
        version="0.1.0",
        before=before,
        stage_masks={1: MASK},
    )
    return png(path, promptmill=format_record(record))


def planned_again(values: dict[str, Any]) -> PlannedRow:
    """What a submit makes of the row; the mask lies where it lay."""
    inputs = {"then[0].mask": PlannedInput(InputImage(address="jobs/j/inputs/m.png", sha256=MASK), (64, 64))}
    row = ROW_ADAPTER.validate_python(values)
    return resolve(row, index=3, job="other", catalogue=Catalogue.load(), inputs=inputs)


def test_the_row_comes_back_and_plans_to_the_same(tmp_path: Path) -> None:
    rows, report = imported(image(tmp_path / "a.png", ROW, 1, 2))
    assert report.rows == 1
    assert planned_again(rows[0]) == ROW


@pytest.mark.parametrize("stage", [0, 1])
def test_the_image_of_an_earlier_stage_gives_the_row_up_to_it(tmp_path: Path, stage: int) -> None:
    (values,), _ = imported(image(tmp_path / "a.png", ROW, 0, stage))
    assert planned_again(values) == ROW.model_copy(update={"then": ROW.then[:stage]})


def test_one_image_alone_has_its_seed_at_every_stage(tmp_path: Path) -> None:
    (values,), _ = imported(image(tmp_path / "a.png", ROW, 1, 2), each=True)
    assert values["seed"] == 11
    assert [stage["seed"] for stage in values["then"]] == [501, 501]
    assert "num_images" not in values


def test_how_a_large_image_was_tiled_follows_from_the_model_again(tmp_path: Path) -> None:
    tiled = ROW.model_copy(update={"then": (ROW.then[1].model_copy(update={"tiling": Tiling(over=100, window=64)}),)})
    (values,), _ = imported(image(tmp_path / "a.png", tiled, 0, 1))
    assert "tiling" not in values["then"][0]
