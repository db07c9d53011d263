"""A worker that stands still past its lease and wakes up displaces nobody."""

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import SLOW_STEPS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def test_a_zombie_that_wakes_after_another_finished_changes_no_outcome(mill: FaultMill, engine: str) -> None:
    mill.orchestrator()
    mill.worker("zombie", engine=engine, **SLOW_STEPS)
    mill.submit(prompts(32), "zombie")
    mill.wait_for_images("zombie", 8)
    child = mill.stop_at_work("zombie", "zombie")
    mill.worker("successor", engine=engine)
    assert mill.wait_for("zombie").done == 32
    assert mill.losses("zombie") > 0
    before = {line["index"]: (line["sha256"], line["key"]) for line in mill.table("zombie")}
    child.resume()
    said = (
        "counted job=zombie",
        "committed, and left to be counted, job=zombie",
        "given back job=zombie",
        "interrupted",
    )
    mill.until(lambda: any(text in mill.log("zombie") for text in said), what="the zombie's last word")
    assert {line["index"]: (line["sha256"], line["key"]) for line in mill.table("zombie")} == before
    mill.settle("zombie")


def test_a_zombie_that_wakes_while_its_successor_works_stops_at_once(mill: FaultMill, engine: str) -> None:
    mill.orchestrator()
    mill.worker("zombie", engine=engine, PROMPTMILL_FLAT_STEP_SECONDS="0.5")
    mill.submit(prompts(32), "early")
    mill.wait_for_images("early", 8)
    child = mill.stop_at_work("zombie", "early")
    first = mill.lease_token("early", "0")
    mill.worker("successor", engine=engine, PROMPTMILL_FLAT_STEP_SECONDS="0.5")
    mill.until(lambda: mill.lease_token("early", "0") not in (first, ""), what="the successor's lease")
    child.resume()
    said = ("interrupted: lost", "given back job=early task=0: lost")  # within a step, or between two batches
    mill.until(lambda: any(text in mill.log("zombie") for text in said), what="the zombie's end")
    assert mill.wait_for("early").done == 32
    mill.settle("early")


def test_a_retry_that_races_a_zombie_of_the_first_round_ends_with_one_outcome_a_row(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("zombie", **SLOW_STEPS)
    rows = [*prompts(20), {"prompt": "never fits !oom>0", "id": "big"}]
    mill.submit(rows, "retry")
    mill.wait_for_images("retry", 8)
    child = mill.stop_at_work("zombie", "retry")
    mill.worker("successor")
    status = mill.wait_for("retry")
    assert (status.done, status.failed) == (20, 1)
    assert mill.losses("retry") > 0
    found = mill.client.retry("retry")
    assert found is not None
    child.resume()  # it goes on with the first round while the retry runs
    mill.until(lambda: found.round_id in mill.rounds_ended("retry"), what="the end of the retry")
    mill.until(lambda: "given back job=retry" in mill.log("zombie") or "counted job=retry" in mill.log("zombie"))
    summary = mill.check_invariant("retry")
    assert (summary.done, summary.failed, summary.rounds) == (20, 1, (found.round_id,))
    mill.settle("retry")
