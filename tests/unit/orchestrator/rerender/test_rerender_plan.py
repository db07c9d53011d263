"""Which originals are rendered together, and what their manifest says."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from orchestrator.rerender.layout import Layout
from orchestrator.rerender.originals import Original, OriginalRow, read_original, rows_of
from orchestrator.rerender.plan import WorkerSetup, jobs_of, setup_of
from schemas.errors import InvalidInput
from services.image_metadata.record import ImageRecord, StageRecord, image_record
from tests.unit.orchestrator.importing.imported_images import RENDER, own_image, planned, png


def original(number: int = 0, batch_size: int = 1, slot: int = 0, device: str = "", **changes: Any) -> Original:
    row = planned(**changes)
    render = RENDER.model_copy(update={"device": device or RENDER.device})
    record: ImageRecord = image_record(
        row,
        number=number,
        seed=row.seed + number,
        width=64,
        height=64,
        batch_size=batch_size,
        slot=slot,
        inputs={},
        render=render,
        version="0.1.0",
    )
    return Original(Path(f"{row.id}-{number}.png"), "", record)


def test_images_of_one_row_are_one_row_unless_they_were_made_elsewhere() -> None:
    here = [original(number, num_images=2) for number in range(2)]
    there = original(1, num_images=2, device="NVIDIA H100")
    assert [len(row.originals) for row in rows_of([*here, there])] == [2, 1]


def test_rows_that_were_alone_share_a_job_as_far_as_their_ids_allow() -> None:
    rows = rows_of([original(), original(id="dog"), original(seed=99)])
    jobs = jobs_of(rows)
    assert [[values["id"] for values in job.manifest] for job in jobs] == [["fox", "dog"], ["fox"]]


def test_a_row_of_a_larger_batch_stands_between_fillers_of_its_batch_key() -> None:
    (row,) = rows_of([original(0, batch_size=4, slot=1, num_images=2, id="filler")])
    (job,) = jobs_of([row])
    assert [values["id"] for values in job.manifest] == ["filler-2", "filler", "filler-3"]
    assert [values.get("num_images") for values in job.manifest] == [None, 2, None]
    key = {"id", "num_images"}
    assert all(
        {n: v for n, v in one.items() if n not in key} == {n: v for n, v in row.values.items() if n not in key}
        for one in job.manifest
    )


def test_places_of_no_one_task_leave_a_row_alone_in_batches_of_the_recorded_size() -> None:
    row = OriginalRow({"id": "a", "num_images": 2}, [original(0, 4, 0, num_images=2), original(1, 4, 3, num_images=2)])
    assert row.layout() == Layout(4, 0, 0)


def test_a_chain_whose_stages_had_batches_of_different_sizes_is_laid_out_by_its_first_stage() -> None:
    one = original(0, batch_size=1, slot=0)
    stage = StageRecord(seed=1, width=8, height=8, batch_size=4, slot=2, render=RENDER)
    row = OriginalRow(
        {"id": "a"}, [dataclasses.replace(one, record=one.record.model_copy(update={"stages": (stage,)}))]
    )
    assert (row.max_batch, row.layout()) == (0, Layout(4, 2, 1))
    same = stage.model_copy(update={"batch_size": 1, "slot": 0})
    row = OriginalRow({"id": "a"}, [dataclasses.replace(one, record=one.record.model_copy(update={"stages": (same,)}))])
    assert (row.max_batch, row.layout()) == (1, Layout(1, 0, 0))


@pytest.mark.parametrize(
    ("device", "gpus", "wanted"),
    [
        ("cpu (3 threads)", False, WorkerSetup(1, "keep", "cpu", "float32", 3)),
        ("cpu (3 threads)", True, WorkerSetup(1, "keep", None, None, None)),
        ("NVIDIA H100", False, WorkerSetup(1, "keep", None, None, None)),
        ("NVIDIA H100", True, WorkerSetup(1, "keep", None, "float32", None)),
    ],
)
def test_the_worker_is_told_what_the_recorded_one_had_where_this_device_can(
    device: str, gpus: bool, wanted: WorkerSetup
) -> None:
    (row,) = rows_of([original(device=device)])
    assert setup_of(row, gpus=gpus) == wanted


def test_an_image_of_another_tool_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    assert read_original(own_image(tmp_path / "a.png", planned())).record.recipe["id"] == "fox"
    with pytest.raises(InvalidInput, match="no recipe of promptmill") as refused:
        read_original(png(tmp_path / "b.png", parameters="a cat"))
    assert "promptmill import" in refused.value.hint
