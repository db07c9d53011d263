"""Redis killed, emptied, cut off, silent, full, or with a lost reply: workers go on, and the job ends complete."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schemas.queues import RENDER_QUEUE
from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import SLOW_STEPS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "0.2"}
REFUSED = "used memory > 'maxmemory'"  # what Redis says
ENDED = "ended with status"  # what a fleet says of a process that it starts again


def working(mill: FaultMill, job: str, rows: int = 200) -> None:
    """A job that is well under way."""
    mill.orchestrator()
    mill.worker("w", count=2, **SLOW_STEPS, **PIECES)
    mill.submit(prompts(rows), job)
    mill.wait_for_images(job, 40)


def finish(mill: FaultMill, job: str, rows: int = 200, again: int = 64) -> None:
    """The job ends; at most what was in flight was rendered twice."""
    assert mill.wait_for(job).done == rows
    assert mill.repeated(job) <= again
    mill.settle(job)


def test_a_redis_that_is_killed_and_started_again_costs_no_row(mill: FaultMill) -> None:
    working(mill, "restart")
    rendered = sum(mill.rendered("restart").values())
    with mill.redis_down():
        # Workers go on with what they have; one that has nothing notices.
        mill.until(
            lambda: sum(mill.rendered("restart").values()) > rendered or "does not answer" in mill.log("w"),
            what="work without Redis",
        )
    finish(mill, "restart")


def test_a_redis_that_is_away_for_longer_than_a_lease_costs_no_row(mill: FaultMill) -> None:
    working(mill, "away")
    with mill.redis_down():
        mill.until(lambda: "does not answer" in mill.log("orchestrator"), what="the outage in the orchestrator's log")
        mill.until(lambda: mill.log("orchestrator").count("does not answer") > 2, what="a longer outage")
    finish(mill, "away")


def test_a_redis_emptied_in_mid_job_is_filled_from_the_store(mill: FaultMill) -> None:
    working(mill, "flush")
    mill.redis.flushall()
    # It was made once before, when the job came.
    mill.until(lambda: mill.log("orchestrator").count("ledger made from the store") > 1, what="the rebuilt ledger")
    finish(mill, "flush")


def test_a_redis_emptied_again_and_again_still_lets_the_job_end(mill: FaultMill) -> None:
    working(mill, "flushes")
    for _ in range(4):
        images = sum(mill.rendered("flushes").values())
        mill.redis.flushall()
        mill.until(lambda seen=images: sum(mill.rendered("flushes").values()) > seen, what="more images")  # type: ignore[misc]
    finish(mill, "flushes", again=4 * 64)


def test_connections_that_redis_kills_are_made_again(mill: FaultMill) -> None:
    working(mill, "clients")
    for _ in range(5):
        mill.until(
            lambda: int(mill.redis.client_kill_filter(_type="normal", skipme=True)) > 0, what="a killed connection"
        )
        images = sum(mill.rendered("clients").values())
        mill.until(lambda seen=images: sum(mill.rendered("clients").values()) > seen, what="more images")  # type: ignore[misc]
    finish(mill, "clients")


def test_half_open_connections_are_given_up_and_made_again(mill: FaultMill) -> None:
    working(mill, "silent")
    assert mill.redis_proxy.silence() > 4, "the fault hit no connection"
    finish(mill, "silent")


def test_a_publish_whose_reply_is_lost_renders_nothing_twice(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w", count=2, **SLOW_STEPS)
    before = mill.redis_proxy.swallowed
    mill.redis_proxy.swallow_reply(b"LPUSH", times=3)
    mill.submit(prompts(200), "reply")
    mill.until(lambda: mill.redis_proxy.swallowed > before, what="a lost reply")
    finish(mill, "reply", again=0)


@contextmanager
def full(mill: FaultMill) -> Iterator[None]:
    """Redis takes no writes for the time of the block."""
    mill.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        mill.redis.config_set("maxmemory", 0)


def test_a_full_redis_stops_nobody_for_good(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w", **SLOW_STEPS, **PIECES)
    mill.submit(prompts(300), "memory")
    mill.wait_for_images("memory", 40)
    at_work = mill.stop_at_work("w", "memory")
    with full(mill):
        mill.until(lambda: "is full" in mill.log("orchestrator"), what="refused writes of the orchestrator")
        at_work.resume()
        mill.until(lambda: "is full" in mill.log("w"), what="refused writes of the task")
    finish(mill, "memory", rows=300)
    assert ENDED not in mill.log("w")


def test_a_worker_that_has_just_taken_a_message_from_a_full_redis_waits_for_room(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w", **SLOW_STEPS, **PIECES)
    mill.until(lambda: "ready." in mill.log("w"), what="a worker that waits for a message")
    consumer = mill.worker_process("w")
    consumer.suspend()
    mill.submit(prompts(60), "taken")
    mill.until(lambda: mill.redis.llen(RENDER_QUEUE) > 0, what="the message after the one that was handed to it")
    with full(mill):
        consumer.resume()
        mill.until(lambda: REFUSED in mill.log("w"), what="the refused note of the message")
    finish(mill, "taken", rows=60)
    assert ENDED not in mill.log("w")


def test_a_worker_that_starts_at_a_full_redis_waits_for_room(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.submit(prompts(60), "late")
    mill.until(lambda: mill.redis.llen(RENDER_QUEUE) > 0, what="a message")
    with full(mill):
        mill.worker("w", **SLOW_STEPS, **PIECES)
        mill.until(lambda: mill.log("w").count("Trying to reconnect") > 2, what="refused writes")
    finish(mill, "late", rows=60)
    assert ENDED not in mill.log("w")
