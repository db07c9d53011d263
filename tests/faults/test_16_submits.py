"""A client killed at any step of a submit: no half job is ever seen, and the same command goes on."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from schemas.errors import JobConflict
from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
SET = ("--set", "model=tiny", "--set", "steps=2", "--set", "width=64", "--set", "height=64")
BEFORE = [
    "submit.checked",
    "claim.marked",
    "submit.claimed",
    "submit.source",
    "submit.inputs",
    "plan.part",
    "plan.parts",
    "submit.planned",
]


def manifest(mill: FaultMill) -> Path:
    """Some rows, and an image of the user's own."""
    Image.new("RGB", (64, 64), "red").save(mill.folder / "input.png")
    rows = [*prompts(60), {"prompt": "with an image", "pipeline": "img2img", "image": "input.png"}]
    return mill.manifest(rows)


@pytest.mark.parametrize("point", BEFORE)
def test_a_submit_killed_before_its_last_object_is_no_job(mill: FaultMill, point: str) -> None:
    path = manifest(mill)
    mill.orchestrator()
    mill.worker("w")
    command = ("submit", str(path), "--job-id", "half", *SET)
    killed = mill.command(*command, check=False, PROMPTMILL_FAILPOINTS=f"{point}=kill")
    assert killed.returncode == -9, killed.stderr
    assert mill.fired(point)
    assert mill.command("status", "half", check=False).returncode == 3
    assert json.loads(mill.command("list", "--json").stdout or "[]") in ([], {"jobs": []})
    mill.command(*command)
    assert mill.wait_for("half").done == 61
    assert max(mill.rendered("half").values()) == 1
    mill.settle("half")


def test_a_submit_killed_after_its_last_object_is_a_job_and_the_same_command_finds_it(mill: FaultMill) -> None:
    path = manifest(mill)
    mill.orchestrator()
    mill.worker("w")
    command = ("submit", str(path), "--job-id", "whole", *SET)
    killed = mill.command(*command, check=False, PROMPTMILL_FAILPOINTS="submit.written=kill")
    assert killed.returncode == -9
    mill.command(*command)
    assert mill.wait_for("whole").done == 61
    assert max(mill.rendered("whole").values()) == 1
    mill.settle("whole")


def test_of_different_submits_that_race_for_one_id_at_most_one_wins_and_its_rows_are_rendered(mill: FaultMill) -> None:
    paths = [mill.manifest(prompts(40, f"picture of {name}"), f"{name}.jsonl") for name in ("a", "b", "c", "d")]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda path: mill.command("submit", str(path), "--job-id", "one", *SET, check=False), paths)
        )
    won = [path for path, answer in zip(paths, found, strict=True) if answer.returncode == 0]
    assert all(answer.returncode in (0, 3) for answer in found), [answer.stderr for answer in found]
    assert len(won) <= 1, "two manifests were submitted under one id"
    if not won:  # all saw each other, and gave way
        mill.command("submit", str(paths[0]), "--job-id", "one", *SET)
        won = paths[:1]
    mill.orchestrator()
    mill.worker("w")
    assert mill.wait_for("one").done == 40
    assert {line["prompt"] for line in mill.table("one")} == {
        row["prompt"] for row in prompts(40, f"picture of {won[0].stem}")
    }
    mill.settle("one")


def test_equal_submits_that_race_for_one_id_are_one_job(mill: FaultMill) -> None:
    path = mill.manifest(prompts(40))
    with ThreadPoolExecutor(3) as pool:
        found = list(
            pool.map(lambda _: mill.command("submit", str(path), "--job-id", "same", *SET, check=False), range(3))
        )
    assert [answer.returncode for answer in found] == [0, 0, 0], [answer.stderr for answer in found]
    mill.orchestrator()
    mill.worker("w")
    assert mill.wait_for("same").done == 40
    mill.settle("same")


def retried(mill: FaultMill, job: str) -> bool:
    """Whether a retry could be given; one that was cut short keeps others off for some seconds."""
    try:
        return mill.client.retry(job) is not None
    except JobConflict:
        return False


@pytest.mark.parametrize("point", ["retry.planned", "retry.written"])
def test_a_retry_whose_client_is_killed_counts_whole_or_not_at_all(mill: FaultMill, point: str) -> None:
    mill.orchestrator()
    mill.worker("w")
    mill.submit([*prompts(8), {"prompt": "never !raise"}], "retry")
    assert mill.wait_for("retry").failed == 1
    killed = mill.command("retry", "retry", check=False, PROMPTMILL_FAILPOINTS=f"{point}=kill")
    assert killed.returncode == -9
    if point == "retry.planned":
        assert mill.client.status("retry").ended
        mill.until(lambda: retried(mill, "retry"), what="another retry")
    else:  # it is there, and nobody was told: whoever gives it again is refused, and tells
        assert not retried(mill, "retry")
    mill.until(lambda: len(mill.rounds_ended("retry")) == 1, what="the end of the retry")
    summary = mill.check_invariant("retry")
    assert (summary.done, summary.failed) == (8, 1)
    mill.settle("retry")


def test_two_retries_that_race_are_one_retry(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w")
    mill.submit([*prompts(8), *prompts(4, "never !raise")], "twice", keep_going=True)
    assert mill.wait_for("twice").failed == 4
    mill.stop("w")  # the first is not done before the last is given
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: mill.command("retry", "twice", check=False), range(3)))
    assert sorted(answer.returncode for answer in found) == [0, 3, 3], [answer.stderr for answer in found]
    mill.worker("w")
    mill.until(lambda: len(mill.rounds_ended("twice")) == 1, what="the end of the retry")
    assert mill.check_invariant("twice").failed == 4
    mill.settle("twice")
