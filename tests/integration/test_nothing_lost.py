"""Processes and services that go away in mid-job: the job ends complete, and no row stands twice."""

import signal
import time

import psutil
import pytest

from services.redis_client import connect
from tests.integration.mill import Mill, signal_tree

pytestmark = pytest.mark.integration
SLOW = {"PROMPTMILL_FLAT_STEP_SECONDS": "0.05"}
QUICK_PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "0.2"}


def prompts(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"picture {number}"} for number in range(count)]


def test_one_worker_killed_and_one_stopped_in_mid_job_lose_nothing(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("killed", **SLOW)
    mill.worker("termed", **SLOW)
    mill.submit(prompts(300), "kill")
    mill.wait_for_images("kill", 40)
    mill.kill_tree("killed")
    assert mill.stop("termed") == 0
    mill.worker("late")
    status = mill.wait_for("kill")
    assert (status.state, status.done) == ("done", 300)
    mill.check_invariant("kill")


def test_a_termed_worker_commits_what_it_finished_and_gives_back_the_rest(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("termed", **SLOW)
    mill.submit(prompts(32), "term")
    mill.wait_for_images("term", 8)
    assert mill.stop("termed") == 0
    finished = set(mill.rendered("term"))
    assert 8 <= len(finished) < 32, mill.logs()
    mill.worker("late")
    mill.wait_for("term")
    again = {image for image, count in mill.rendered("term").items() if count > 1}
    assert not again, "finished images were rendered again"
    assert mill.client.ledger.progress("term") is None
    mill.check_invariant("term")


def test_term_to_the_whole_group_is_as_good_as_to_the_parent(mill: Mill) -> None:
    mill.orchestrator()
    pid = mill.worker("group", **SLOW)
    mill.submit(prompts(32), "group")
    mill.wait_for_images("group", 8)
    signal_tree(pid, signal.SIGTERM)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    mill.worker("late")
    mill.wait_for("group")
    assert max(mill.rendered("group").values()) == 1
    mill.check_invariant("group")


def test_a_flushed_redis_in_mid_job_is_rebuilt_from_the_store(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(**SLOW, **QUICK_PIECES)
    mill.submit(prompts(300), "flush")
    mill.wait_for_images("flush", 80)
    redis = connect(mill.settings.redis)
    redis.flushall()
    redis.close()
    status = mill.wait_for("flush")
    assert (status.state, status.done) == ("done", 300)
    again = sum(count - 1 for count in mill.rendered("flush").values())
    assert again <= 32, "more was rendered again than what was in flight"
    mill.check_invariant("flush")


def test_an_orchestrator_killed_and_started_again_goes_on(mill: Mill) -> None:
    mill.orchestrator("first")
    mill.worker(**SLOW)
    mill.submit(prompts(200), "orchestrator")
    mill.wait_for_images("orchestrator", 40)
    mill.kill_tree("first")
    mill.orchestrator("second")
    assert mill.wait_for("orchestrator").done == 200
    assert max(mill.rendered("orchestrator").values()) == 1
    mill.check_invariant("orchestrator")


def test_two_orchestrators_at_once_do_no_harm(mill: Mill) -> None:
    mill.orchestrator("one")
    mill.orchestrator("two")
    mill.worker(count=2)
    mill.submit(prompts(300), "twins")
    assert mill.wait_for("twins").done == 300
    assert max(mill.rendered("twins").values()) == 1
    mill.check_invariant("twins")


def test_a_row_that_kills_its_worker_fails_alone_as_poison(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("w", count=2)
    mill.submit([*prompts(5), {"prompt": "poison !exit", "id": "bad"}, *prompts(5)], "poison")
    status = mill.wait_for("poison", seconds=110)
    assert (status.done, status.failed, status.failures) == (10, 1, {"poison": 1})
    bad = next(line for line in mill.table("poison") if line["id"] == "bad")
    assert (bad["error_class"], bad["attempts"]) == ("poison", 3)
    mill.check_invariant("poison")


def test_a_stopped_worker_that_wakes_after_its_lease_displaces_nobody(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("zombie", **SLOW)
    mill.submit(prompts(32), "zombie")
    mill.wait_for_images("zombie", 8)
    child = mill.pool_child("zombie")
    child.suspend()
    mill.worker("successor")
    mill.wait_for("zombie")
    before = {line["index"]: line["sha256"] for line in mill.table("zombie")}
    child.resume()
    time.sleep(1.5)
    assert {line["index"]: line["sha256"] for line in mill.table("zombie")} == before
    mill.check_invariant("zombie")


def test_a_killed_fleet_takes_its_processes_with_it(mill: Mill) -> None:
    mill.orchestrator()
    pid = mill.worker(count=2, **SLOW)
    mill.submit(prompts(500), "fleet")
    mill.wait_for_images("fleet", 16)
    children = psutil.Process(pid).children(recursive=True)
    assert len(children) >= 4
    psutil.Process(pid).kill()
    alive = psutil.wait_procs(children, timeout=20)[1]
    assert alive == []
    mill.client.cancel("fleet")
    mill.wait_for("fleet")
    mill.check_invariant("fleet")


def test_a_worker_that_cannot_start_takes_no_messages(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("broken", engine="nowhere:Nothing")
    mill.worker("sound")
    mill.submit(prompts(64), "broken")
    assert mill.wait_for("broken").done == 64
    assert "this worker cannot start" in mill.logs()
    mill.check_invariant("broken")
