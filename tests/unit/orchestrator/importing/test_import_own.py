"""Images of ours give back exactly the rows that made them."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from orchestrator.importing.inputs_by_content import InFolder, OfLocalJobs
from orchestrator.planner.resolve import PlannedInput, resolve
from schemas.planned import InputImage, PlannedRow
from schemas.rows import FIELD_NAMES, ROW_ADAPTER, ROW_TYPES, Row
from services.catalogue import Catalogue
from services.image_metadata.record import ImageRecord
from tests.unit.orchestrator.importing.imported_images import imported, own_image, planned, png

SHA = "ab" * 32
MASK = "cd" * 32
INPUT: dict[str, Any] = {"image": {"address": "jobs/j/inputs/a.png", "sha256": SHA}}
BY_PIPELINE: dict[str, dict[str, Any]] = {
    "txt2img": {"width": 96, "negative_prompt": "blurry", "scheduler": "euler_a", "clip_skip": 1},
    "img2img": INPUT | {"strength": 0.4, "format": "jpeg", "quality": 90},
    "inpaint": INPUT | {"strength": 1.0, "mask": {"address": "jobs/j/inputs/b.png", "sha256": MASK}},
    "upscale": INPUT | {"noise_level": 20, "width": 256, "height": 256, "prompt": ""},
    "depth2img": INPUT | {"strength": 0.8, "format": "webp"},
}


THEN: list[dict[str, Any]] = [
    {"pipeline": "upscale", "noise_level": 20, "width": 256, "height": 256, "tiling": {"over": 100, "window": 32}},
    {"pipeline": "inpaint", "strength": 0.5, "width": 256, "height": 256, "loras": [{"name": "x", "weight": 0.5}]},
]
WEIGHTED: dict[str, Any] = {"weighting": "compel", "loras": [{"name": "y", "weight": -1.0}], "embeddings": ["e"]}
_STAGE = {"model": "tiny", "prompt": "p", "steps": 3, "guidance_scale": 5.0, "seed": 7, "scheduler": None}


def chain(**changes: Any) -> PlannedRow:
    then = [_STAGE | stage for stage in THEN]
    then[1]["mask"] = {"address": "jobs/j/inputs/b.png", "sha256": MASK}
    return planned(then=then, **WEIGHTED, **changes)


def planned_again(values: dict[str, Any], index: int) -> PlannedRow:
    """What a submit makes of an imported row; its inputs lie where they lay, with the size that they had."""
    row: Row = ROW_ADAPTER.validate_python(values)
    known = {SHA: "jobs/j/inputs/a.png", MASK: "jobs/j/inputs/b.png"}
    inputs = {}
    for name in ("image", "mask"):
        if address := getattr(row, name, None):
            sha = address.removeprefix("sha256:")
            inputs[name] = PlannedInput(InputImage(address=known[sha], sha256=sha), (64, 64))
    return resolve(row, index=index, job="other", catalogue=Catalogue.load(), inputs=inputs)


def test_every_pipeline_and_field_is_tried() -> None:
    assert BY_PIPELINE.keys() == ROW_TYPES.keys()
    tried = {name for fields in BY_PIPELINE.values() for name in fields} | WEIGHTED.keys()
    tried |= {"id", "pipeline", "model", "prompt", "steps", "guidance_scale", "seed", "height", "num_images", "then"}
    # `keep` is told by which images there are, and columns of the user's own are in no image.
    assert FIELD_NAMES - {"keep", "extra"} <= tried


@pytest.mark.parametrize("pipeline", BY_PIPELINE)
def test_the_row_comes_back_and_plans_to_the_same(pipeline: str, tmp_path: Path) -> None:
    row = planned(pipeline=pipeline, extra={"mine": 1}, **BY_PIPELINE[pipeline])
    rows, report = imported(own_image(tmp_path / "a.png", row, inputs={"image": SHA, "mask": MASK}))
    assert (report.rows, report.tools) == (1, {"promptmill": 1})
    assert planned_again(rows[0], 3) == row.model_copy(update={"extra": {}})


def test_images_of_one_row_are_one_row_and_with_each_a_row_each(tmp_path: Path) -> None:
    row = planned(num_images=3)
    files = [own_image(tmp_path / f"fox-{number}.png", row, number) for number in range(3)]
    rows, report = imported(*files)
    assert [(one["id"], one["num_images"], one["seed"]) for one in rows] == [("fox", 3, 10)]
    assert (report.files, report.rows, report.images, report.counts) == (3, 1, 3, {})
    each, report = imported(*files, each=True)
    assert [(one["id"], one["seed"]) for one in each] == [("fox-0", 10), ("fox-1", 11), ("fox-2", 12)]
    assert all("num_images" not in one for one in each)


def test_a_row_some_of_whose_images_are_missing_is_told(tmp_path: Path) -> None:
    rows, report = imported(own_image(tmp_path / "a.png", planned(num_images=4), 2))
    assert rows[0]["num_images"] == 4
    assert report.findings[0][:2] == ("fox", "incomplete")
    assert "1 of its 4" in report.findings[0].message


def test_a_copy_is_taken_once_and_another_row_of_the_same_id_gets_another(tmp_path: Path) -> None:
    first = own_image(tmp_path / "a.png", planned())
    copy = own_image(tmp_path / "b.png", planned())
    other = own_image(tmp_path / "c.png", planned(seed=99))
    rows, report = imported(first, copy, other)
    assert [(one["id"], one["seed"]) for one in rows] == [("fox", 10), ("fox-2", 99)]
    assert (report.copies, report.counts) == (1, {"renamed": 1})


def test_a_chain_comes_back_with_every_stage(tmp_path: Path) -> None:
    rows, report = imported(own_image(tmp_path / "a.png", chain(), masks={2: MASK}))
    assert (report.rows, report.inputs) == (1, 1)
    stage = {"model": "tiny", "prompt": "p", "steps": 3, "guidance_scale": 5.0, "seed": 7}
    mask = f"sha256:{MASK}"
    assert rows[0]["then"] == [
        stage | {"pipeline": "upscale", "noise_level": 20},
        stage
        | {"pipeline": "inpaint", "strength": 0.5, "width": 256, "height": 256, "mask": mask}
        | {"loras": [{"name": "x", "weight": 0.5}]},
    ]
    assert {name: rows[0][name] for name in WEIGHTED} == WEIGHTED
    assert "keep" not in rows[0]
    ROW_ADAPTER.validate_python(rows[0])


def test_images_of_several_stages_are_one_row_that_keeps_them_all(tmp_path: Path) -> None:
    row = chain(num_images=2)
    for number in range(2):
        for stage in range(3):
            own_image(tmp_path / f"fox-{number}-s{stage}.png", row, number, stage=stage, masks={2: MASK})
    own_image(tmp_path / "other.png", planned(id="other"))
    rows, report = imported(tmp_path)
    assert [(one["id"], len(one.get("then", ())), one.get("keep")) for one in rows] == [
        ("fox", 2, "all"),
        ("other", 0, None),
    ]
    assert (report.files, report.rows, report.copies) == (7, 2, 0)
    each, _ = imported(tmp_path, each=True)
    assert [(one["id"], one.get("keep"), one["seed"]) for one in each] == [
        ("fox-0", "all", 10),
        ("fox-1", "all", 11),
        ("other", None, 10),
    ]
    assert [stage["seed"] for stage in each[1]["then"]] == [8, 8]


def test_an_image_of_an_earlier_stage_alone_is_the_row_up_to_there(tmp_path: Path) -> None:
    rows, report = imported(own_image(tmp_path / "a.png", chain(), stage=1))
    assert [stage["pipeline"] for stage in rows[0]["then"]] == ["upscale"]
    assert report.counts == {}


def test_inputs_are_found_by_content_and_named_from_where_the_manifest_is(tmp_path: Path) -> None:
    content = b"an input"
    sha = hashlib.sha256(content).hexdigest()
    (tmp_path / "originals" / "deep").mkdir(parents=True)
    (tmp_path / "originals" / "deep" / "cat.png").write_bytes(content)
    row = planned(pipeline="img2img", strength=0.5, image={"address": "jobs/j/inputs/x.png", "sha256": sha})
    file = own_image(tmp_path / "a.png", row, inputs={"image": sha})
    without, report = imported(file)
    assert without[0]["image"] == f"sha256:{sha}"
    assert (report.counts, report.inputs) == ({"missing_input": 1}, 1)
    (tmp_path / "manifests").mkdir()
    found, report = imported(file, sources=(InFolder(tmp_path / "originals"),), folder=tmp_path / "manifests")
    assert found[0]["image"] == "../originals/deep/cat.png"
    assert report.counts == {}


def test_inputs_of_local_jobs_count_only_with_the_content_that_their_name_says(tmp_path: Path) -> None:
    content = b"an input"
    sha = hashlib.sha256(content).hexdigest()
    folder = tmp_path / "s3" / "promptmill" / "jobs" / "one" / "inputs"
    folder.mkdir(parents=True)
    (folder / f"{sha}.png").write_bytes(b"something else")
    assert OfLocalJobs(tmp_path)(sha) is None
    (folder / f"{sha}.png").write_bytes(content)
    assert OfLocalJobs(tmp_path)(sha) == folder / f"{sha}.png"
    assert OfLocalJobs(tmp_path, "two")(sha) is None


def test_an_s3_input_keeps_its_address(tmp_path: Path) -> None:
    row = planned(pipeline="img2img", strength=0.5, image={"address": "s3://bucket/cat.png"})
    rows, report = imported(own_image(tmp_path / "a.png", row, inputs={"image": SHA}))
    assert (rows[0]["image"], report.counts) == ("s3://bucket/cat.png", {})


def test_a_recipe_that_no_manifest_can_say_is_not_shortened(tmp_path: Path) -> None:
    file = own_image(tmp_path / "a.png", planned())
    text = ImageRecord.model_validate_json(png_text(file))
    later = text.model_copy(update={"recipe": text.recipe | {"tiling": True}})
    rows, report = imported(png(tmp_path / "b.png", promptmill=later.model_dump_json()))
    assert rows == []
    assert "tiling" in report.findings[0].message


def png_text(file: Path) -> str:
    from services.image_metadata.containers import read_texts

    return read_texts(file).texts["promptmill"]
