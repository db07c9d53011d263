"""`metadata.parquet`, `summary.json` and the gallery of a job."""

import io
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from finished_job import (
    JOB,
    MemoryStore,
    add_control,
    add_job,
    add_piece,
    add_round,
    done,
    failed,
    planned,
)

import orchestrator.metadata_table
from orchestrator.fetch import fetch
from orchestrator.finalize import finalize
from orchestrator.manifests import Faults, ManifestOptions, read
from orchestrator.planner.lines import LinePlanner
from schemas import keys
from schemas.errors import JobConflict, JobNotFound
from schemas.job import Summary
from schemas.planned import PlannedRow
from services.catalogue import Catalogue


def table_of(store: MemoryStore) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(store.objects[keys.metadata_table(JOB)]))


def mixed_job() -> MemoryStore:
    """Rows done, done with a dropped image, failed; with columns of the user's own."""
    store = MemoryStore()
    rows = [
        planned(0, prompt='夜の港 🐈\n"two" lines', extra={"Category": "Animals", "rating": 1, "status": "theirs"}),
        planned(1, num_images=2, extra={"Category": "Food", "rating": 2.5, "tags": ["a", {"b": 1}]}),
        planned(2, extra={"Category": None}),
    ]
    add_job(store, [rows[:2], rows[2:]])
    add_piece(store, 0, [done(store, 0, rows[0]), done(store, 0, rows[1], drop=(1,))])
    add_piece(store, 1, [failed(rows[2], error_class="out_of_memory")])
    return store


def test_the_summary_adds_up() -> None:
    store = mixed_job()
    summary = finalize(store, JOB)
    assert (summary.planned, summary.done, summary.failed, summary.cancelled) == (3, 2, 1, 0)
    assert (summary.images, summary.dropped, summary.flagged) == (2, 1, 1)
    assert summary.failures == {"out_of_memory": 1}
    assert summary.state == "done"
    assert summary.bytes == sum(len(data) for key, data in store.objects.items() if "/images/" in key)
    assert summary.units == pytest.approx(3 * 64 * 32 * 4 / (512 * 512 * 50), abs=1e-6)
    assert Summary.model_validate_json(store.objects[keys.summary(JOB)]) == summary


def test_the_table_has_a_line_per_image_and_per_row_without_one() -> None:
    store = mixed_job()
    finalize(store, JOB)
    table = table_of(store)
    assert table[["id", "status"]].values.tolist() == [
        ["row-0", "done"],
        ["row-1", "done"],
        ["row-1", "done"],
        ["row-2", "failed"],
    ]
    assert table["prompt"][0] == '夜の港 🐈\n"two" lines'
    assert table["seed"].tolist() == [100, 101, 102, 102]
    assert table["key"][0] == keys.image(JOB, 0, 0, 0, "b", "png")
    assert table["key"].isna().tolist() == [False, False, True, True]
    assert table["error_class"][3] == "out_of_memory"
    assert table["attempts"][3] == 2
    assert json.loads(table["versions"][0]) == {"torch": "2"}


def test_the_users_columns_stand_beside_ours_and_whole_in_extra() -> None:
    store = mixed_job()
    finalize(store, JOB)
    table = table_of(store)
    assert table["Category"].fillna("-").tolist() == ["Animals", "Food", "Food", "-"]
    assert table["rating"].tolist()[:3] == [1.0, 2.5, 2.5]
    assert table["extra_status"][0] == "theirs"
    assert json.loads(table["tags"][1]) == ["a", {"b": 1}]
    assert json.loads(table["extra"][1]) == {"Category": "Food", "rating": 2.5, "tags": ["a", {"b": 1}]}


def test_a_long_number_of_a_users_own_comes_whole_from_the_manifest_through_the_plan_to_the_results(
    tmp_path: Path,
) -> None:
    number = 123456789012345678901234567890
    (tmp_path / "m.jsonl").write_text(
        f'{{"prompt":"a","model":"tiny","serial":{number},"serials":{{"a":[{number}]}}}}\n'
    )
    (authored,) = read(tmp_path / "m.jsonl", ManifestOptions(), Faults())
    planner = LinePlanner(JOB, Catalogue.load())
    line = planner.plan(authored.row, planner.prototype(authored.row), 0).line()
    row = PlannedRow.model_validate_json(line)
    store = MemoryStore()
    add_job(store, [[row]])
    add_piece(store, 0, [done(store, 0, row)])
    finalize(store, JOB)
    table = table_of(store)
    assert json.loads(table["extra"][0]) == {"serial": number, "serials": {"a": [number]}}
    assert table["serial"][0] == str(number)
    fetch(store, JOB, tmp_path / "fetched")
    (line_of,) = map(json.loads, (tmp_path / "fetched" / "metadata.jsonl").read_text().splitlines())
    assert (line_of["serial"], line_of["serials"]) == (number, {"a": [number]})


def test_the_coordinates_of_swept_rows_stand_there_as_json_and_are_null_for_others() -> None:
    store = MemoryStore()
    rows = [planned(0, coordinates={"scheduler": "euler", "guidance_scale": 0.3}), planned(1)]
    add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, row) for row in rows])
    finalize(store, JOB)
    swept, plain = table_of(store)["coordinates"]
    assert json.loads(swept) == {"scheduler": "euler", "guidance_scale": 0.3}
    assert pd.isna(plain)


def test_duckdb_reads_it(tmp_path: Path) -> None:
    store = mixed_job()
    finalize(store, JOB)
    path = tmp_path / "metadata.parquet"
    path.write_bytes(store.objects[keys.metadata_table(JOB)])
    with duckdb.connect() as connection:
        query = f"SELECT Category, count(*) FROM '{path}' WHERE status = 'done' AND NOT dropped GROUP BY 1 ORDER BY 1"
        assert connection.execute(query).fetchall() == [("Animals", 1), ("Food", 1)]


def test_running_it_again_changes_nothing() -> None:
    store = mixed_job()
    finalize(store, JOB)
    before = dict(store.objects)
    finalize(store, JOB)
    assert store.objects.keys() == before.keys()
    assert all(store.objects[key] == data for key, data in before.items() if not key.endswith(".parquet"))
    first = pq.read_table(io.BytesIO(before[keys.metadata_table(JOB)]))
    assert first.equals(pq.read_table(io.BytesIO(store.objects[keys.metadata_table(JOB)])))


def test_nothing_that_others_wrote_is_touched() -> None:
    store = mixed_job()
    before = dict(store.objects)
    store.puts.clear()
    finalize(store, JOB)
    assert {key: store.objects[key] for key in before} == before
    assert not set(store.puts) & set(before)


def test_a_retry_is_taken_in() -> None:
    store = mixed_job()
    finalize(store, JOB)
    row = planned(2, extra={"Category": None})
    add_round(store, 2, [row])
    add_piece(store, 2, [done(store, 2, row, "c")], "c")
    summary = finalize(store, JOB)
    assert (summary.done, summary.failed, len(summary.rounds)) == (3, 0, 1)
    assert table_of(store)["status"].tolist() == ["done"] * 4


def test_a_job_with_rows_to_go_is_not_finalized() -> None:
    store = MemoryStore()
    rows = [planned(0), planned(1)]
    add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0])])
    with pytest.raises(JobConflict, match="1 of 2 rows"):
        finalize(store, JOB)
    assert keys.summary(JOB) not in store.objects
    assert keys.metadata_table(JOB) not in store.objects


def test_a_cancelled_job_is_finalized_with_what_it_has() -> None:
    store = MemoryStore()
    rows = [planned(index) for index in range(3)]
    add_job(store, [rows])
    add_piece(store, 0, [done(store, 0, rows[0]), failed(rows[1])])
    add_control(store, "cancel")
    summary = finalize(store, JOB)
    assert (summary.state, summary.done, summary.failed, summary.cancelled) == ("cancelled", 1, 1, 1)
    assert table_of(store)["status"].tolist() == ["done", "failed", "cancelled"]


def test_no_such_job() -> None:
    with pytest.raises(JobNotFound):
        finalize(MemoryStore(), JOB)


@pytest.mark.parametrize("group_lines", [1, 5, 10_000])
def test_many_parts_in_groups_of_any_size_freeze_and_read_back(monkeypatch: Any, group_lines: int) -> None:
    monkeypatch.setattr(orchestrator.metadata_table, "GROUP_LINES", group_lines)
    store = MemoryStore()
    parts = [[planned(4 * part + row, extra={"n": row}) for row in range(4)] for part in range(12)]
    add_job(store, parts)
    for number, rows in enumerate(parts):
        add_piece(store, number, [done(store, number, row) for row in rows])
    finalize(store, JOB)
    for number, rows in enumerate(parts):
        add_piece(store, number, [done(store, number, row, "z") for row in rows], "z")
    summary = finalize(store, JOB)
    table = table_of(store)
    assert summary.done == 48
    assert set(table["token"]) == {"b"}
    assert table["index"].tolist() == list(range(48))
    assert table["n"].tolist() == [0, 1, 2, 3] * 12


def test_a_row_with_no_prompt_no_sizes_and_inputs() -> None:
    store = MemoryStore()
    address = f"jobs/{JOB}/inputs/{'ab' * 32}.png"
    row = planned(0, pipeline="upscale", prompt="", width=None, height=None, image={"address": address}, noise_level=20)
    add_job(store, [[row]])
    add_piece(store, 0, [done(store, 0, row, inputs={"image": "cd" * 32}, warnings=["cut"])])
    for _ in range(2):
        finalize(store, JOB)
        line = table_of(store).iloc[0]
        assert (line["input_image"], line["input_image_sha256"]) == (address, "cd" * 32)
        assert (line["width"], line["height"], list(line["warnings"])) == (64, 32, ["cut"])
