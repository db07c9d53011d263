"""Workers that vanish: nothing is lost, nothing stands twice, and what was committed is not rendered again."""

import pytest

from schemas.queues import RENDER_QUEUE
from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import SLOW_STEPS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "0.2"}


def test_a_worker_killed_in_mid_task_loses_what_was_not_committed_and_nothing_else(
    mill: FaultMill, engine: str
) -> None:
    mill.orchestrator()
    mill.worker("killed", engine=engine, **SLOW_STEPS, **PIECES)
    mill.submit(prompts(96), "kill")
    mill.wait_for_images("kill", 40)
    mill.stop_at_work("killed", "kill")
    mill.kill_tree("killed")
    committed = {line.id for line in mill.pieces("kill")}
    assert mill.in_flight("kill"), "the fault hit no task"
    mill.worker("late", engine=engine)
    assert mill.wait_for("kill").done == 96
    twice = {row for (row, _), count in mill.rendered("kill").items() if count > 1}
    assert not twice & committed, "a committed row was rendered again"
    assert len(twice) <= 32
    mill.settle("kill")


def test_a_killed_process_group_is_started_again_by_its_fleet(mill: FaultMill, engine: str) -> None:
    mill.orchestrator()
    mill.worker("w", engine=engine, **SLOW_STEPS)
    mill.submit(prompts(64), "group")
    mill.wait_for_images("group", 8)
    before = mill.worker_process("w").pid
    mill.stop_at_work("w", "group")
    mill.kill_group("w")
    assert mill.wait_for("group").done == 64
    assert mill.losses("group") > 0
    assert mill.worker_process("w").pid != before
    assert mill.repeated("group") <= 32
    mill.settle("group")


def test_a_killed_pool_child_is_replaced_and_its_task_comes_back(mill: FaultMill, engine: str) -> None:
    mill.orchestrator()
    mill.worker("w", engine=engine, **SLOW_STEPS)
    mill.submit(prompts(64), "child")
    mill.wait_for_images("child", 8)
    parent = mill.worker_process("w").pid
    child = mill.stop_at_work("w", "child")
    child.kill()
    assert mill.wait_for("child").done == 64
    assert mill.losses("child") > 0
    assert mill.worker_process("w").pid == parent, "the pool child's death ended its parent"
    assert mill.pool_child("w").pid != child.pid
    mill.settle("child")


@pytest.mark.parametrize("point", ["worker.popped", "worker.received", "worker.leased", "worker.counted"])
def test_a_worker_killed_between_the_queue_and_its_first_step_loses_no_message(
    mill: FaultMill, point: str, engine: str
) -> None:
    mill.orchestrator()
    mill.worker("w", engine=engine, PROMPTMILL_FAILPOINTS=f"{point}=group")
    mill.submit(prompts(64), "pop")
    mill.wait_until_fired(point)
    assert mill.wait_for("pop").done == 64
    assert max(mill.rendered("pop").values()) == 1
    mill.settle("pop")


def test_a_message_that_was_popped_and_is_nowhere_is_published_again(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.submit(prompts(64), "lost")
    taken = mill.until(lambda: mill.redis.rpop(RENDER_QUEUE), what="a message")  # as a worker killed after its BRPOP
    assert taken
    mill.worker("w")
    assert mill.wait_for("lost").done == 64
    assert "its message is gone; published again" in mill.logs()
    mill.settle("lost")


def test_a_worker_killed_in_a_loop_while_it_works_costs_no_row(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w", **SLOW_STEPS, **PIECES)
    mill.submit(prompts(400), "loop")
    dead: set[str] = set()
    for kills in range(1, 5):  # it works alone: it cannot be done before the last of them
        mill.wait_for_images("loop", sum(mill.rendered("loop").values()) + 24)
        mill.stop_at_work("w", "loop", dead=dead)
        mill.kill_group("w")
        dead |= mill.holders("loop")
        assert len(dead) == kills
    mill.worker("steady", **PIECES)
    assert mill.wait_for("loop").done == 400
    assert mill.losses("loop") >= 4
    mill.settle("loop")
