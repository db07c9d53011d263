"""Messages are hints: junk, unknown, old, foreign and replayed ones are refused, and change no outcome."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from schemas.queues import RENDER_QUEUE
from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def changed(text: str, change: Callable[[dict[str, Any]], None], **headers: Any) -> str:
    """A message with other fields, or other headers."""
    envelope = json.loads(text)
    arguments, fields, options = json.loads(base64.b64decode(envelope["body"]))
    change(fields)
    envelope["body"] = base64.b64encode(json.dumps([arguments, fields, options]).encode()).decode()
    envelope["headers"] |= headers
    return json.dumps(envelope)


def first_message(mill: FaultMill) -> str:
    """The first message of a job, left in the queue."""
    return str(mill.until(lambda: mill.redis.lrange(RENDER_QUEUE, -1, -1), what="a message")[0])


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "of an older version": lambda fields: fields.update(v=0),
    "of a later version, with a field that nobody knows": lambda fields: fields.update(v=2, steps=3),
    "of a job that does not exist": lambda fields: fields.update(job="another"),
    "of a task that does not exist": lambda fields: fields.update(task=99),
    "of a row that does not exist": lambda fields: fields.update(row=77),
    "with a job that is a path": lambda fields: fields.update(job="../../etc"),
    "with no fields": lambda fields: fields.clear(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_message_is_refused(name: str, mill: FaultMill) -> None:
    mill.orchestrator()
    mill.submit(prompts(40), "messages")
    text = first_message(mill)
    mill.redis.rpush(RENDER_QUEUE, changed(text, CHANGES[name]))  # the next one to be taken
    mill.worker("w")
    assert mill.wait_for("messages").done == 40
    assert "refused" in mill.log("w")
    assert max(mill.rendered("messages").values()) == 1
    mill.settle("messages")


def test_junk_in_the_queue_stops_no_worker(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.submit(prompts(40), "junk")
    text = first_message(mill)
    unknown = changed(text, lambda fields: None, task="somebody.elses", id="not/ours")
    pickled = json.dumps(json.loads(text) | {"content-type": "application/x-python-serialize"})
    junk = ["", "junk", "{}", "[1]", "null", "\x00\xff", '{"body": "e30=", "headers": {}}', unknown, pickled]
    for piece in junk:
        mill.redis.rpush(RENDER_QUEUE, piece)
    mill.worker("w")
    assert mill.wait_for("junk", seconds=200).done == 40
    assert max(mill.rendered("junk").values()) == 1
    mill.settle("junk")


def test_messages_replayed_ten_times_render_nothing_again(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.submit(prompts(100), "replay")
    seen: set[str] = {first_message(mill)}
    mill.worker("w", count=2)

    def ended() -> bool:
        seen.update(mill.redis.lrange(RENDER_QUEUE, 0, -1))
        return mill.ended("replay")

    for text in list(seen) * 10:
        mill.redis.lpush(RENDER_QUEUE, text)
    mill.until(ended, what="the end of the job")
    for text in list(seen) * 10:  # and when it has ended
        mill.redis.lpush(RENDER_QUEUE, text)
    mill.until(lambda: mill.redis.llen(RENDER_QUEUE) == 0, what="an empty queue")
    assert "refused" in mill.log("w")
    assert max(mill.rendered("replay").values()) == 1
    mill.settle("replay")
