"""What a job with chains comes to: the table, the summary, frozen outcomes, fetched files, the gallery."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.fetch import fetch
from orchestrator.fetch_names import FileNames, stem_hash
from orchestrator.finalize import finalize
from orchestrator.outcomes import read_outcomes
from schemas import keys
from schemas.planned import InputImage, PlannedRow
from schemas.units import units
from services import jobs
from services.image_metadata import carriers
from tests.runner_steps import open_job
from tests.small_mill import JOB, SmallMill, planned
from workers.runner import run_task

INPUT_M = keys.input_image(JOB, "b" * 64, "png")
LARGE: dict[str, Any] = {
    "pipeline": "upscale",
    "model": "big",
    "prompt": "sharp",
    "width": 64,
    "height": 32,
    "steps": 5,
    "guidance_scale": 9.0,
    "seed": 500,
    "scheduler": None,
}
REDRAW = LARGE | {"pipeline": "img2img", "model": "tiny", "steps": 3, "strength": 0.5}


@pytest.fixture
def rows() -> list[PlannedRow]:
    return [
        planned(0, id="plain"),
        planned(1, id="last", then=[LARGE, REDRAW], num_images=2),
        planned(2, id="all", then=[LARGE], keep="all"),
        planned(3, id="many", then=[LARGE], keep="all", num_images=2),
        planned(4, id="bad", then=[LARGE | {"prompt": "!raise"}]),
    ]


@pytest.fixture
def mill(small_mill: SmallMill, rows: list[PlannedRow]) -> SmallMill:
    """A job whose rows are rendered, a task each, and finalized."""
    active = open_job(small_mill, [[row] for row in rows])
    for task in range(len(rows)):
        run_task(active.message(str(task), 0), small_mill.place())
    finalize(small_mill.store, JOB)
    return small_mill


def table(mill: SmallMill) -> dict[str, list[dict[str, Any]]]:
    """Lines of metadata.parquet by row id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in pq.read_table(io.BytesIO(mill.store.get(keys.metadata_table(JOB)))).to_pylist():
        found.setdefault(line["id"], []).append(line)
    return found


def cost(width: int, height: int, steps: int) -> float:
    return units(width, height, steps)


def test_images_are_those_of_last_stages_and_earlier_ones_are_counted_apart(
    mill: SmallMill, rows: list[PlannedRow]
) -> None:
    document, summary = jobs.read_document(mill.store, JOB), jobs.read_summary(mill.store, JOB)
    assert summary is not None
    assert (document.totals.images, document.totals.earlier_images) == (7, 3)
    assert (summary.done, summary.failed, summary.images, summary.earlier_images) == (4, 1, 6, 3)
    assert summary.units == pytest.approx(sum(row.units() for row in rows[:-1]), abs=1e-5)
    assert summary.bytes == sum(line["bytes"] for lines in table(mill).values() for line in lines if line["bytes"])


def test_each_line_says_what_its_own_stage_did(mill: SmallMill) -> None:
    lines = table(mill)
    assert [(line["stage"], line["image_number"]) for line in lines["many"]] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    first, last = lines["all"]
    assert (first["pipeline"], first["model"], first["prompt"], first["width"]) == ("txt2img", "tiny", "prompt 2", 16)
    assert (last["pipeline"], last["model"], last["prompt"], last["width"]) == ("upscale", "big", "sharp", 64)
    assert (first["seed"], last["seed"], last["keep"]) == (102, 500, "all")
    assert [stage["pipeline"] for stage in json.loads(last["then"])] == ["upscale"]
    assert (lines["plain"][0]["then"], lines["plain"][0]["stages"], lines["plain"][0]["stage"]) == (None, None, 0)
    assert (lines["bad"][0]["status"], lines["bad"][0]["pipeline"]) == ("failed", "txt2img")
    assert lines["bad"][0]["error_message"].startswith("stage 1 (then[0], upscale)")


def test_units_of_lines_add_up_with_and_without_the_earlier_images(mill: SmallMill) -> None:
    lines = table(mill)
    small, large, redrawn = cost(16, 8, 2), cost(64, 32, 5), cost(64, 32, 3)
    assert [line["units"] for line in lines["all"]] == pytest.approx([small, large])
    assert [line["units"] for line in lines["last"]] == pytest.approx([small + large + redrawn] * 2)


def test_what_is_frozen_comes_back_as_the_workers_wrote_it(mill: SmallMill) -> None:
    document = jobs.read_document(mill.store, JOB)
    frozen = {index: line for part in read_outcomes(mill.store, document) for index, line in part.found.items()}
    pieces = jobs.part_outcomes(mill.store, JOB, 0)
    assert frozen == pieces
    before = mill.store.get(keys.metadata_table(JOB))
    finalize(mill.store, JOB)
    assert mill.store.get(keys.metadata_table(JOB)) == before


def test_a_chain_frozen_without_its_pieces_is_whole(mill: SmallMill) -> None:
    document = jobs.read_document(mill.store, JOB)
    pieces = jobs.part_outcomes(mill.store, JOB, 0)
    mill.store.delete([found.key for found in mill.store.list(keys.results_folder(JOB))])
    (part,) = read_outcomes(mill.store, document)
    assert part.found == {index: line for index, line in pieces.items() if line.status == "done"}


def test_a_table_of_an_earlier_version_stays_frozen(mill: SmallMill) -> None:
    """It has no columns for stages: every image is of stage 0, which is what such rows have."""
    data = pq.read_table(io.BytesIO(mill.store.get(keys.metadata_table(JOB))))
    old = io.BytesIO()
    pq.write_table(data.drop_columns(["stage", "stages", "then", "keep", "tiled"]), old)
    mill.store.put(keys.metadata_table(JOB), old.getvalue(), "application/vnd.apache.parquet")
    mill.store.delete([found.key for found in mill.store.list(keys.results_folder(JOB))])
    (part,) = read_outcomes(mill.store, jobs.read_document(mill.store, JOB))
    plain = part.found[0]
    assert (plain.status, plain.images[0].stage, plain.stages) == ("done", 0, ())


def test_fetched_files_carry_the_stage_where_it_is_not_the_last(mill: SmallMill, tmp_path: Path) -> None:
    report = fetch(mill.store, JOB, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "plain.png",
        "last-0.png",
        "last-1.png",
        "all.png",
        "all-s0.png",
        "many-0.png",
        "many-1.png",
        "many-0-s0.png",
        "many-1-s0.png",
    }
    lines = [json.loads(text) for text in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    by_name = {line["file_name"]: line for line in lines}
    assert len(lines) == report.images == 9
    assert (by_name["all-s0.png"]["pipeline"], by_name["all.png"]["pipeline"]) == ("txt2img", "upscale")
    assert [stage["pipeline"] for stage in by_name["last-0.png"]["then"]] == ["upscale", "img2img"]
    assert by_name["last-0.png"]["stage"] == 2


def test_names_of_stages_that_would_meet_others_give_way() -> None:
    """Row `a` keeps its stage 0 as `a-s0`, which is another row's id."""
    chain = planned(0, id="a", then=[LARGE], keep="all")
    names = FileNames(frozenset({stem_hash("a-s0")}))
    assert names.of(chain) == ["a~000000.png", "a~000000-s0.png"]
    assert names.of(planned(1, id="a-s0")) == ["a-s0~000001.png"]
    assert names.of(planned(2, id="a", then=[LARGE])) == ["a.png"]


def test_the_gallery_shows_every_kept_image_with_its_stage(mill: SmallMill) -> None:
    page = mill.store.get(keys.gallery(JOB, "index.html")).decode()
    assert page.count("<figure") == 9
    assert "many-1-s0 · seed 104 · txt2img · tiny · 16×8" in page
    assert "many-1 · seed 501 · upscale · big · 64×32" in page
    assert "3 images of earlier stages" in page


def test_the_mask_of_a_stage_is_named_on_its_line(small_mill: SmallMill) -> None:
    from PIL import Image

    mask = io.BytesIO()
    Image.new("L", (16, 8), 255).save(mask, "PNG")
    small_mill.store.put(INPUT_M, mask.getvalue(), "image/png")
    inpaint = REDRAW | {"pipeline": "inpaint", "mask": InputImage(address=INPUT_M)}
    active = open_job(small_mill, [[planned(0, then=[inpaint, LARGE], keep="all")]])
    run_task(active.message("0", 0), small_mill.place())
    finalize(small_mill.store, JOB)
    (lines,) = table(small_mill).values()
    assert [(line["input_mask"], line["input_mask_sha256"] is not None) for line in lines] == [
        (None, False),
        (INPUT_M, True),
        (None, False),
    ]


def test_an_image_in_tiles_says_so(small_mill: SmallMill) -> None:
    tiling = {"over": 100, "window": 64, "overlap": 8}
    active = open_job(small_mill, [[planned(0, then=[LARGE | {"tiling": tiling}], keep="all")]])
    run_task(active.message("0", 0), small_mill.place())
    finalize(small_mill.store, JOB)
    (lines,) = table(small_mill).values()
    assert [line["tiled"] for line in lines] == [False, True]
    record = carriers.read(small_mill.store.get(lines[1]["key"])).record
    assert record is not None
    assert record.recipe["then"][0]["tiling"] == tiling


def test_a_retry_of_a_failed_chain_is_that_chain(small_mill: SmallMill) -> None:
    from orchestrator.retry import retry

    bad = planned(0, then=[LARGE | {"prompt": "!raise"}])
    active = open_job(small_mill, [[bad]])
    run_task(active.message("0", 0), small_mill.place())
    finalize(small_mill.store, JOB)
    found = retry(small_mill.store, small_mill.ledger, JOB)
    assert found is not None
    (again,) = jobs.read_plan_part(small_mill.store, JOB, found.first_part, found.round_id)
    assert again == bad
    record = jobs.task_record(jobs.read_tasks(small_mill.store, JOB, found.round_id), 0, found.round_id)
    assert [(stage.pipeline, stage.model) for stage in record.stages] == [("txt2img", "tiny"), ("upscale", "big")]
