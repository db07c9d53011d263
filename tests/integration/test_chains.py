"""Chains with real processes: workers that go away between and inside stages, and the example."""

import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from schemas import keys
from services import jobs
from tests.integration.mill import Mill

pytestmark = pytest.mark.integration
SLOW = {"PROMPTMILL_FLAT_STEP_SECONDS": "0.05"}
# Two images between their stages: a task goes in many slices, and rows are finished all along.
SMALL_SLICES = {"PROMPTMILL_WORKER__HELD_BYTES": str(2 * 64 * 64 * 3), "PROMPTMILL_WORKER__PIECE_SECONDS": "0.2"}
STAGES: list[dict[str, Any]] = [
    {"pipeline": "upscale", "steps": 2},
    {"pipeline": "img2img", "model": "tiny-2", "steps": 2, "strength": 1.0, "width": 96, "height": 96},
]
EXAMPLE = Path(__file__).parents[2] / "examples" / "chains.jsonl"


def chains(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"picture {number}", "then": STAGES, "keep": "all"} for number in range(count)]


def rendered(mill: Mill, job: str) -> Counter[tuple[str, str, int]]:
    """How often each image of each stage was denoised: (row, image, stage)."""
    found = re.findall(rf"rendered job={job} row=(\S+) image=(\d+) seed=\d+ stage=(\d+)", mill.logs())
    return Counter((row, image, int(stage)) for row, image, stage in found)


def finished_rows(mill: Mill, job: str) -> set[str]:
    """Ids of rows that stand in a piece now."""
    store, document = mill.client.store, jobs.read_document(mill.client.store, job)
    parts = (jobs.part_outcomes(store, job, part) for part in range(document.totals.parts))
    return {line.id for part in parts for line in part.values()}


def check_whole(mill: Mill, job: str, rows: int) -> None:
    """Every row once, with an image of each stage, and nothing in flight."""
    summary = mill.check_invariant(job)
    assert (summary.state, summary.done, summary.images, summary.earlier_images) == ("done", rows, rows, 2 * rows)
    lines = mill.table(job)
    assert Counter(line["stage"] for line in lines) == {0: rows, 1: rows, 2: rows}
    assert {(line["stage"], line["width"]) for line in lines} == {(0, 64), (1, 256), (2, 96)}
    assert all((keys.parse_image(line["key"]).stage is None) == (line["stage"] == 2) for line in lines)


def test_a_worker_killed_in_the_middle_of_a_chain_loses_nothing_and_doubles_nothing(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("killed", **SLOW, **SMALL_SLICES)
    mill.submit(chains(48), "kill")
    mill.until(lambda: len(finished_rows(mill, "kill")) >= 4, what="some finished rows")
    seen = sum(stage == 1 for _, _, stage in rendered(mill, "kill"))
    mill.until(lambda: sum(stage == 1 for _, _, stage in rendered(mill, "kill")) > seen, what="a second stage")
    mill.kill_tree("killed")
    kept = finished_rows(mill, "kill")
    assert 4 <= len(kept) < 48
    mill.worker("late", **SMALL_SLICES)
    assert mill.wait_for("kill").done == 48
    again = {row for (row, _, _), count in rendered(mill, "kill").items() if count > 1}
    assert not again & kept, "rows that were finished were rendered again"
    check_whole(mill, "kill", 48)


def test_a_termed_worker_commits_the_rows_that_passed_their_last_stage(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("termed", **SLOW, **SMALL_SLICES)
    mill.submit(chains(32), "term")
    mill.until(lambda: sum(stage == 2 for _, _, stage in rendered(mill, "term")) >= 6, what="last stages")
    assert mill.stop("termed") == 0
    through = {row for row, _, stage in rendered(mill, "term") if stage == 2}
    assert 6 <= len(through) < 32
    assert finished_rows(mill, "term") == through
    mill.worker("late")
    mill.wait_for("term")
    again = {row for (row, _, _), count in rendered(mill, "term").items() if count > 1}
    assert not again & through
    check_whole(mill, "term", 32)


def test_a_cancel_stops_within_a_stage_and_keeps_what_is_whole(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(**SLOW, **SMALL_SLICES)
    mill.submit(chains(64), "cancel")
    mill.until(lambda: len(finished_rows(mill, "cancel")) >= 2, what="finished rows")
    mill.client.cancel("cancel")
    status = mill.wait_for("cancel")
    assert status.state == "cancelled"
    assert 2 <= status.done < 64
    mill.check_invariant("cancel")


@pytest.mark.engine
@pytest.mark.timeout(300)  # 1280 x 720 pixels on a CPU that others use as well
def test_the_example_of_chains_renders(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(engine="diffusers")
    mill.command("submit", str(EXAMPLE), "--job-id", "example")
    assert mill.wait_for("example", seconds=240).done == 4
    mill.check_invariant("example")
    mill.command("fetch", "example")
    sizes = {
        path.name: Image.open(io.BytesIO(path.read_bytes())).size for path in (mill.folder / "example").glob("*.png")
    }
    assert sizes["fox-large.png"] == (256, 256)
    assert sizes["wide.png"] == (1280, 720)
    assert sizes["house-again.png"] == (96, 96)
    steps = [f"house-steps-{number}{stage}.png" for number in (0, 1) for stage in ("-s0", "-s1", "-s2", "")]
    assert [sizes[name][0] for name in steps] == [64, 64, 64, 256] * 2
    assert len(sizes) == 11
