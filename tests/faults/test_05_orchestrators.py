"""An orchestrator killed at any step, and two at once: the next one goes on, and no row is done twice for it."""

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import SLOW_STEPS, SLOWER_STEPS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "point",
    [
        "dispatch.opened",
        "dispatch.taken",
        "dispatch.published",
        "finalize.made",
        "finalize.table",
        "finalize.gallery",
        "finalize.written",
        "finalize.dropped",
    ],
)
def test_an_orchestrator_killed_at_a_step_is_followed_by_one_that_goes_on(mill: FaultMill, point: str) -> None:
    mill.orchestrator("killed", PROMPTMILL_FAILPOINTS=f"{point}=kill")
    mill.worker("w")
    mill.submit(prompts(100), "step")
    mill.wait_for_exit("killed")
    assert mill.fired(point)
    mill.orchestrator("next")
    assert mill.wait_for("step").done == 100
    assert max(mill.rendered("step").values()) == 1
    mill.until(lambda: mill.client.ledger.progress("step") is None, what="an empty ledger")
    mill.settle("step")


@pytest.mark.parametrize("point", ["dispatch.lost", "dispatch.split", "poison.leased", "poison.written"])
def test_an_orchestrator_killed_while_it_recovers_counts_nothing_twice(mill: FaultMill, point: str) -> None:
    mill.orchestrator("killed", PROMPTMILL_FAILPOINTS=f"{point}=kill")
    mill.worker("w", count=2)
    mill.submit([*prompts(3), {"prompt": "poison !exit", "id": "bad"}, *prompts(3)], "recover")
    mill.wait_for_exit("killed")
    assert mill.fired(point)
    mill.orchestrator("next")
    status = mill.wait_for("recover", seconds=200)
    assert (status.done, status.failed, status.failures) == (6, 1, {"poison": 1})
    bad = next(line for line in mill.table("recover") if line["id"] == "bad")
    assert bad["attempts"] == 3
    mill.settle("recover")


def test_a_job_that_pauses_itself_stays_paused_when_the_orchestrator_dies_at_that_moment(mill: FaultMill) -> None:
    mill.orchestrator("killed", PROMPTMILL_FAILPOINTS="dispatch.paused=kill")
    mill.worker("w")
    mill.submit(prompts(200, "bad !raise"), "pause")
    mill.wait_for_exit("killed")
    assert mill.fired("dispatch.paused")
    mill.orchestrator("next")
    mill.until(lambda: mill.client.status("pause").state == "paused", what="the pause")
    mill.client.cancel("pause")
    assert mill.wait_for("pause").state == "cancelled"
    mill.settle("pause")


def test_an_orchestrator_killed_in_mid_job_is_followed_by_one_that_renders_nothing_again(mill: FaultMill) -> None:
    mill.orchestrator("first")
    mill.worker("w", **SLOW_STEPS)
    mill.submit(prompts(300), "mid")
    mill.wait_for_images("mid", 40)
    mill.kill_tree("first")
    assert not mill.ended("mid")
    mill.orchestrator("second")
    assert mill.wait_for("mid").done == 300
    assert max(mill.rendered("mid").values()) == 1
    mill.settle("mid")


def test_two_orchestrators_of_which_the_leader_stands_still_share_one_job(mill: FaultMill) -> None:
    mill.orchestrator("one")
    mill.orchestrator("two")
    mill.worker("w", count=2, **SLOWER_STEPS)
    mill.submit(prompts(400), "twins")
    mill.wait_for_images("twins", 40)
    leader = mill.leader()
    leader.suspend()  # its lock runs out, and it thinks that it leads when it wakes up
    mill.until(lambda: mill.leader_pid() not in (None, leader.pid), what="another leader")
    assert not mill.ended("twins")
    leader.resume()
    assert mill.wait_for("twins").done == 400
    assert max(mill.rendered("twins").values()) == 1
    mill.settle("twins")
