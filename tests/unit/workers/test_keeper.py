"""The lease is kept while there is progress, and the task learns when to stop."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from schemas.errors import LedgerUnavailable
from schemas.job import ControlState
from services.ledger import CountDelta, Ledger
from workers.engines.base import Interrupted
from workers.keeper import STALLED_STATUS, LeaseKeeper

JOB, MEMBER = "job", "0"
LEASE_SECONDS = 0.12  # renewed every 20 ms


def opened(ledger: Ledger) -> None:
    ledger.open(JOB, tasks=2, priority=1, counts=CountDelta(0, 0, 0, 0.0))


@pytest.fixture
def token(ledger: Ledger) -> str:
    opened(ledger)
    return ledger.lease(JOB, MEMBER, worker="w", seconds=LEASE_SECONDS).token


def keeper(ledger: Ledger, token: str, **changes: Any) -> LeaseKeeper:
    values: dict[str, Any] = {"stall_seconds": 60, "stopping": threading.Event(), "lease_seconds": LEASE_SECONDS}
    return LeaseKeeper(ledger, job=JOB, member=MEMBER, token=token, worker="w", **(values | changes))


def until(happened: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def steer(ledger: Ledger, state: str, last: str) -> None:
    assert ledger.steer(JOB, ControlState(state=state, last=last))  # type: ignore[arg-type]


class TestLease:
    def test_it_is_renewed_until_the_task_ends_and_not_after(self, ledger: Ledger, token: str) -> None:
        with keeper(ledger, token):
            until(lambda: ledger.now() > ledger.flights(JOB)[0].since + 3 * LEASE_SECONDS * 1000)
            assert ledger.lose(JOB, MEMBER, token, error="") == -1
        until(lambda: ledger.lose(JOB, MEMBER, token, error="") == 1)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease")]

    def test_it_carries_the_progress(self, ledger: Ledger, token: str) -> None:
        with keeper(ledger, token) as kept:
            kept.progress(rows=2, images=7)
            until(lambda: (ledger.flights(JOB)[0].rows, ledger.flights(JOB)[0].images) == (2, 7))

    def test_one_that_redis_forgot_stops_nobody_and_is_taken_up_again(
        self, ledger: Ledger, token: str, redis: "Redis"
    ) -> None:
        with keeper(ledger, token) as kept:
            redis.flushall()
            time.sleep(0.05)
            kept.step()
            opened(ledger)
            until(lambda: [flight.token for flight in ledger.flights(JOB)] == [token])
            assert kept.reason is None

    def test_a_redis_that_is_away_stops_nobody(
        self, ledger: Ledger, token: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = threading.Event()

        def renew(*_: object, **__: object) -> None:
            asked.set()
            raise LedgerUnavailable("away")

        with monkeypatch.context() as patch, keeper(ledger, token) as kept:
            patch.setattr(ledger, "renew", renew)
            assert asked.wait(10)
            kept.step()
            patch.undo()
            until(lambda: ledger.flights(JOB)[0].expiry > ledger.now())
            assert kept.reason is None


class TestReasons:
    def test_anothers_lease_stops_at_once_and_for_good(self, ledger: Ledger, token: str, redis: "Redis") -> None:
        redis.flushall()
        opened(ledger)
        other = ledger.lease(JOB, MEMBER, worker="other", seconds=60).token
        with keeper(ledger, token) as kept:
            until(lambda: kept.reason == "lost")
            with pytest.raises(Interrupted):
                kept.step()
            ledger.give_back(JOB, MEMBER, other)
            time.sleep(0.06)
            assert kept.reason == "lost"
        assert ledger.flights(JOB) == [], "a lease that another gave back is not taken up by who lost it"

    def test_a_counted_task_is_lost(self, ledger: Ledger, token: str) -> None:
        with keeper(ledger, token) as kept:
            ledger.count(JOB, MEMBER, CountDelta(1, 0, 1, 1.0))
            until(lambda: kept.reason == "lost")

    def test_a_cancelled_job_stops_at_the_next_step(self, ledger: Ledger, token: str) -> None:
        with keeper(ledger, token) as kept:
            kept.step()
            steer(ledger, "cancelled", "01")
            until(lambda: kept.reason == "cancelled")
            with pytest.raises(Interrupted):
                kept.step()

    def test_a_paused_one_only_after_the_batch_and_goes_on_when_it_is_resumed(self, ledger: Ledger, token: str) -> None:
        with keeper(ledger, token) as kept:
            steer(ledger, "paused", "01")
            until(lambda: kept.reason == "paused")
            kept.step()
            steer(ledger, "running", "02")
            until(lambda: kept.reason is None)

    def test_a_cancel_is_seen_within_a_second_whatever_the_lease(self, ledger: Ledger, token: str) -> None:
        with keeper(ledger, token, lease_seconds=3600.0) as kept:
            steer(ledger, "cancelled", "01")
            started = time.monotonic()
            until(lambda: kept.reason == "cancelled")
            assert time.monotonic() - started < 2.0

    def test_term_stops_at_the_next_step(self, ledger: Ledger, token: str) -> None:
        stopping = threading.Event()
        with keeper(ledger, token, stopping=stopping) as kept:
            kept.step()
            stopping.set()
            assert kept.reason == "term"
            with pytest.raises(Interrupted):
                kept.step()

    def test_an_engine_that_catches_everything_does_not_catch_an_interruption(self) -> None:
        assert not issubclass(Interrupted, Exception)


STALLED = """
import threading, time
from workers.keeper import LeaseKeeper

class Ledger:
    def renew(self, *_, **__):
        print("renewed", flush=True)
        return "renewed", "running"

keeper = LeaseKeeper(
    Ledger(), job="job", member="0", token="t", worker="w", lease_seconds=0.12, stall_seconds=0.3,
    stopping=threading.Event(),
)
with keeper:
    for _ in range(10):
        time.sleep(0.1)
        keeper.step()
    print("no more steps", flush=True)
    time.sleep(60)
"""


def test_no_progress_for_the_stall_time_ends_the_process_and_its_renewals() -> None:
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", STALLED], capture_output=True, text=True, timeout=30)
    assert ended.returncode == STALLED_STATUS
    before, _, after = ended.stdout.partition("no more steps")
    assert before.count("renewed") > 10, "steps are progress"
    assert 1 <= after.count("renewed") <= 16
    assert "no progress for" in ended.stderr
    assert time.monotonic() - started < 25
