"""Pause, resume, cancel, priority and retry of a running job; a job that only fails."""

import json

import pytest

from schemas.errors import JobPaused
from tests.integration.mill import Mill

pytestmark = pytest.mark.integration
SLOW = {"PROMPTMILL_FLAT_STEP_SECONDS": "0.05"}


def prompts(count: int, text: str = "picture") -> list[dict[str, object]]:
    return [{"prompt": f"{text} {number}"} for number in range(count)]


def test_a_paused_job_stands_still_and_a_resumed_one_goes_on(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(**SLOW)
    mill.submit(prompts(2000), "pause")
    mill.wait_for_images("pause", 16)
    mill.client.pause("pause", "lunch")
    mill.until(lambda: mill.client.status("pause").in_flight == 0, what="the running task's stop")
    stood = sum(mill.rendered("pause").values())
    status = mill.client.status("pause")
    assert (status.state, status.reason) == ("paused", "lunch")
    assert stood < 2000
    mill.client.resume("pause")
    mill.until(lambda: sum(mill.rendered("pause").values()) > stood + 32, what="more images")
    mill.client.cancel("pause")
    assert mill.wait_for("pause").done > stood
    assert max(mill.rendered("pause").values()) == 1, "a batch was thrown away by a pause"
    mill.check_invariant("pause")


def test_a_cancelled_job_ends_with_what_it_has(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(**SLOW)
    mill.submit(prompts(500), "cancel")
    mill.wait_for_images("cancel", 40)
    mill.command("cancel", "cancel")
    status = mill.wait_for("cancel")
    assert status.state == "cancelled"
    assert status.done >= 32
    assert status.done + status.cancelled == 500
    assert mill.check_invariant("cancel").images == status.done
    assert mill.command("resume", "cancel", check=False).returncode == 3


def test_only_the_failed_rows_are_retried_into_the_same_job(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker("small-memory", **SLOW)
    rows = [*prompts(40), {"prompt": "never fits !oom>0", "id": "big"}, {"prompt": "bad !raise", "id": "bad"}]
    mill.submit(rows, "retry")
    status = mill.wait_for("retry")
    assert (status.done, status.failed) == (40, 2)
    first = mill.rendered("retry")
    found = json.loads(mill.command("retry", "retry", "--class", "out_of_memory", "--json").stdout)
    assert found["rows"] == 1
    mill.until(lambda: mill.client.status("retry").ended, what="the retry")
    status = mill.client.status("retry")
    assert (status.done, status.failed) == (40, 2)
    assert mill.rendered("retry") == first, "a row that was done was rendered again"
    assert mill.check_invariant("retry").rounds == (found["round"],)


def test_a_job_that_only_fails_pauses_itself_with_the_reason(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker()
    mill.submit(prompts(200, "bad !raise"), "fails")
    with pytest.raises(JobPaused, match=r"the last .* rows failed the same way"):
        mill.client.wait("fails")
    assert mill.client.status("fails").failed < 200


def test_keep_going_lets_a_job_fail_to_its_end(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker()
    mill.submit(prompts(70, "bad !raise"), "stubborn", keep_going=True)
    assert mill.wait_for("stubborn").failed == 70
    mill.check_invariant("stubborn")
