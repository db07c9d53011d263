"""Cancel, pause, resume and priority in mid-job, racing each other, and after Redis forgot everything."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.outcomes import read_outcomes
from schemas.errors import JobConflict
from services import jobs
from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import SLOW_STEPS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def working(mill: FaultMill, job: str, rows: int = 400) -> None:
    mill.orchestrator()
    mill.worker("w", count=2, **SLOW_STEPS)
    mill.submit(prompts(rows), job)
    mill.wait_for_images(job, 24)


def done_in_pieces(mill: FaultMill, job: str) -> int:
    """Rows that some piece calls done, whatever a summary says."""
    document = jobs.read_document(mill.client.store, job)
    parts = read_outcomes(mill.client.store, document)
    return sum(line.status == "done" for part in parts for line in part.found.values())


def test_a_job_paused_and_emptied_from_redis_stays_paused(mill: FaultMill) -> None:
    working(mill, "pause")
    mill.client.pause("pause")
    mill.redis.flushall()
    mill.until(lambda: mill.log("orchestrator").count("ledger made from the store") > 1, what="the rebuilt ledger")
    mill.until(lambda: mill.client.status("pause").state == "paused" and not mill.in_flight("pause"), what="the pause")
    stood = sum(mill.rendered("pause").values())
    assert stood < 400
    mill.client.resume("pause")
    assert mill.wait_for("pause").done == 400
    mill.settle("pause")


def test_a_job_cancelled_while_redis_forgets_its_leases_ends_with_all_that_was_finished(mill: FaultMill) -> None:
    working(mill, "cancel")
    mill.redis.flushall()
    mill.client.cancel("cancel")
    status = mill.wait_for("cancel")
    assert status.state == "cancelled"
    mill.stop("w")  # what it still had in hand is committed now, if it was not
    assert done_in_pieces(mill, "cancel") == status.done, "rows were committed after the job's end"
    mill.settle("cancel")


def test_verbs_that_race_each_other_end_in_one_state_that_everybody_sees(mill: FaultMill) -> None:
    working(mill, "race")
    verbs = [mill.client.pause, mill.client.resume, lambda job: mill.client.prioritize(job, 7)] * 6
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda verb: verb("race"), verbs))
    mill.client.resume("race")
    document = jobs.read_document(mill.client.store, "race")
    said = jobs.read_control(mill.client.store, document)
    assert (said.state, said.priority) == ("running", 7)
    mill.until(lambda: mill.client.status("race").state in ("running", "done"), what="the resumption")
    assert mill.wait_for("race").done == 400
    mill.settle("race")


def test_a_cancel_that_races_pause_and_resume_is_final(mill: FaultMill) -> None:
    working(mill, "final")

    def steer(verb: str) -> None:
        try:
            getattr(mill.client, verb)("final")
        except JobConflict:
            assert mill.ended("final") or verb != "cancel"

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(steer, ["pause", "resume", "cancel", "resume", "pause", "resume"]))
    assert mill.wait_for("final").state == "cancelled"
    mill.settle("final")


def test_a_retry_in_progress_survives_a_flush(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w", **SLOW_STEPS)
    mill.submit([*prompts(20), *prompts(12, "never !raise")], "again", keep_going=True)
    assert mill.wait_for("again").failed == 12
    found = mill.client.retry("again")
    assert found is not None
    mill.wait_for_lease("again")
    mill.redis.flushall()
    mill.until(lambda: found.round_id in mill.rounds_ended("again"), what="the end of the retry")
    summary = mill.check_invariant("again")
    assert (summary.done, summary.failed, summary.rounds) == (20, 12, (found.round_id,))
    mill.settle("again")
