"""A manifest in, images in object storage out: separate processes, as on a fleet."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import psutil
import pytest

from schemas import keys
from schemas.rows import PIPELINES
from services.image_metadata.carriers import read
from tests.integration.mill import Mill

pytestmark = pytest.mark.integration


def prompts(count: int, **fields: object) -> list[dict[str, object]]:
    return [{"prompt": f"picture {number}", "Category": "test", **fields} for number in range(count)]


def test_submit_status_watch_and_fetch_bring_every_image_with_the_users_columns(mill: Mill) -> None:
    manifest = mill.manifest(prompts(70, num_images=2, nested={"a": [1, {"b": "ü"}]}))
    submitted = mill.command("submit", str(manifest), "--set", "model=tiny", "--set", "steps=2", "--job-id", "main")
    assert submitted.stdout == "main\n"
    assert "promptmill status main --watch" in submitted.stderr
    mill.orchestrator()
    mill.worker("w0")
    mill.worker("w1")
    watched = mill.command("status", "main", "--watch", "--json")
    last = json.loads(watched.stdout.splitlines()[-1])
    assert (last["state"], last["done"], last["images"]) == ("done", 70, 140)
    mill.command("fetch", "main", "-o", "out")
    lines = [json.loads(line) for line in (mill.folder / "out" / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == 140
    assert {line["Category"] for line in lines} == {"test"}
    assert lines[0]["nested"] == {"a": [1, {"b": "ü"}]}
    assert all((mill.folder / "out" / line["file_name"]).is_file() for line in lines)
    assert max(mill.rendered("main").values()) == 1
    mill.check_invariant("main")


def test_the_same_submit_again_goes_on_and_renders_nothing_twice(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker()
    rows = prompts(10)
    mill.submit(rows, "again")
    mill.wait_for("again")
    before = mill.rendered("again")
    mill.submit(rows, "again")
    mill.command("fetch", "again", "-o", "out")
    assert mill.rendered("again") == before
    refused = mill.command(
        "submit",
        str(mill.manifest(prompts(11), "other.jsonl")),
        "--job-id",
        "again",
        "--set",
        "model=tiny",
        check=False,
    )
    assert refused.returncode == 3
    assert "taken" in refused.stderr


def test_metadata_and_summary_open_with_pandas_and_duckdb(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker()
    mill.submit([*prompts(9), {"prompt": "bad !raise", "Category": "bad"}], "tables")
    mill.wait_for("tables")
    path = mill.folder / "metadata.parquet"
    path.write_bytes(mill.client.store.get(keys.metadata_table("tables")))
    frame = pd.read_parquet(path)
    assert len(frame) == 10
    assert sorted(frame["status"].value_counts().to_dict().items()) == [("done", 9), ("failed", 1)]
    found = duckdb.sql(f"select count(*), min(seed) is not null from '{path}' where status = 'done'").fetchall()
    assert found == [(9, True)]
    summary = json.loads(mill.client.store.get(keys.summary("tables")))
    assert (summary["planned"], summary["done"], summary["failed"]) == (10, 9, 1)
    assert summary["failures"] == {"render_error": 1}


def test_a_small_job_behind_a_big_one_waits_for_three_of_its_tasks_at_most(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(PROMPTMILL_FLAT_STEP_SECONDS="0.15")
    mill.submit(prompts(5000), "big")
    mill.wait_for_images("big", 64)
    mill.submit(prompts(20), "small")
    first = sum(mill.rendered("big").values())
    mill.until(lambda: mill.client.status("small").done == 20, what="the small job")
    in_between = sum(mill.rendered("big").values()) - first
    # The task under way, the one that was published already, and one by its fair share, each of 32 rows.
    assert in_between <= 3 * 32, mill.logs()
    mill.client.cancel("big")
    status = mill.wait_for("big")
    assert status.state == "cancelled"
    assert status.done + status.cancelled == 5000
    mill.check_invariant("big")


def test_run_does_everything_on_one_machine_and_again_renders_nothing(mill: Mill, tmp_path: Path) -> None:
    manifest = mill.manifest(prompts(40))
    environment = {
        "PROMPTMILL_WORKER__ENGINE": "workers.engines.flat:FlatRoom",
        "PROMPTMILL_DATA_DIR": str(tmp_path / "own"),
    }
    for name in ("REDIS__URL", "S3__BUCKET", "S3__PREFIX", "S3__ENDPOINT_URL", "S3__ACCESS_KEY_ID"):
        environment[f"PROMPTMILL_{name}"] = ""
    arguments = ["run", str(manifest), "--set", "model=tiny", "--set", "steps=2", "--job-id", "all-in-one"]
    first = mill.command(*arguments, "--workers", "2", "-o", "pictures", "--json", **environment)
    assert json.loads(first.stdout)["done"] == 40
    log = tmp_path / "own" / "logs" / "worker.log"
    rendered = log.read_text().count("rendered job=all-in-one")
    assert rendered == 40
    mill.command(*arguments, "-o", "pictures", **environment)
    assert log.read_text().count("rendered job=all-in-one") == rendered


@pytest.mark.engine
def test_all_five_pipelines_render_and_every_image_holds_its_own_recipe(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(engine="diffusers")
    manifest = Path(__file__).parents[2] / "examples" / "demo.jsonl"
    document = mill.client.submit(manifest, job_id="five")
    status = mill.wait_for("five", seconds=100)
    assert (status.failed, status.images) == (0, document.totals.images)
    assert mill.client.fetch("five", mill.folder / "out").problem_count == 0
    found = [json.loads(line) for line in (mill.folder / "out" / "metadata.jsonl").read_text().splitlines()]
    assert {line["pipeline"] for line in found} == set(PIPELINES)
    for line in found:
        embedded = read(mill.folder / "out" / line["file_name"])
        assert embedded.record is not None
        assert (embedded.record.recipe["prompt"], embedded.record.seed) == (line["prompt"], line["seed"])
        assert f"Seed: {line['seed']}" in (embedded.infotext or "")
    mill.check_invariant("five")


def test_ctrl_c_ends_a_run_with_all_its_processes_and_says_how_to_go_on(mill: Mill, tmp_path: Path) -> None:
    manifest = mill.manifest(prompts(500))
    environment = mill.environment | {
        "PROMPTMILL_WORKER__ENGINE": "workers.engines.flat:FlatRoom",
        "PROMPTMILL_FLAT_STEP_SECONDS": "0.05",
        "PROMPTMILL_DATA_DIR": str(tmp_path / "own"),
    }
    command = [sys.executable, "-m", "orchestrator.cli.main", "run", str(manifest), "--set", "model=tiny"]
    with subprocess.Popen(
        [*command, "-o", "pictures"], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as run:
        log = tmp_path / "own" / "logs" / "worker.log"
        mill.until(lambda: log.exists() and "rendered job=" in log.read_text(), what="the first image")
        started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGINT)
        told = run.communicate(timeout=40)[1]
    assert run.returncode == 130
    job = told.split("job ")[1].split()[0]
    assert f"Go on with: promptmill run {manifest} --set model=tiny -o pictures --job-id {job}" in told
    gone, alive = psutil.wait_procs(started, timeout=10)
    assert (len(gone) > 4, alive) == (True, [])
