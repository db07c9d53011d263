"""A job that makes no progress but errors is paused, and one that does is not."""

from typing import Any

import pytest

from orchestrator.dispatch.pausing import reason_to_pause
from services.ledger import JobProgress

COUNTS = dict.fromkeys(
    ["priority", "tasks", "counted", "done", "failed", "images", "units", "cursor", "opened", "again", "in_flight"], 0
)


def progress(**changes: Any) -> JobProgress:
    values = COUNTS | {"state": "running", "reason": "", "automatic": False, "control": "", "streak_class": "poison"}
    return JobProgress(**(values | {"streak": 0, "head_rows": 0, "head_failures": 0} | changes))


@pytest.mark.parametrize(
    ("changes", "paused"),
    [
        ({}, False),
        ({"streak": 19}, False),
        ({"streak": 20}, True),
        ({"head_rows": 99, "head_failures": 99}, False),
        ({"head_rows": 100, "head_failures": 50}, False),
        ({"head_rows": 100, "head_failures": 51}, True),
        ({"head_rows": 130, "head_failures": 65}, False),
    ],
)
def test_twenty_in_a_row_or_over_half_of_the_first_hundred(changes: dict[str, int], paused: bool) -> None:
    assert (reason_to_pause(progress(**changes), 20) is not None) == paused


def test_the_reason_tells_how_many_and_how() -> None:
    assert reason_to_pause(progress(streak=23), 20) == "the last 23 rows failed the same way (poison)"
    assert reason_to_pause(progress(head_rows=100, head_failures=60), 20) == "60 of the first 100 rows failed"


def test_the_rule_can_be_switched_off() -> None:
    assert reason_to_pause(progress(streak=1000, head_rows=100, head_failures=100), 0) is None


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_a_job_that_does_not_run_is_not_paused_again(state: str) -> None:
    assert reason_to_pause(progress(streak=1000, state=state), 20) is None


@pytest.mark.parametrize(
    ("units", "limit", "counted", "paused"),
    [(10, None, 1, False), (10, 10, 1, False), (10.5, 10, 1, True), (10.5, 10, 2, False)],
)
def test_a_job_over_its_limit_is_paused_unless_it_is_done(
    units: float, limit: float | None, counted: int, paused: bool
) -> None:
    found = reason_to_pause(progress(units=units, tasks=2, counted=counted), 0, limit)
    assert (found is not None) == paused
