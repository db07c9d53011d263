"""What the processes tell each other through Redis beside the tasks: hints, who is there, and locks.

Nothing of it is needed for a right result. A Redis that forgets it costs time.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError
from redis import Redis

from services.ledger.records import WorkerReport
from services.redis_errors import mapped_errors

SILENT_SECONDS = 30.0  # a worker that did not report for so long is gone
SETTLED_SECONDS = 10.0  # two reports of a worker: after so long all that live have told an empty Redis of themselves
LACKING_SECONDS = 600  # a model can be brought to a worker: after so long it is asked again

_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_LET_GO = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Presence:
    """Below one key prefix. Every method raises `LedgerUnavailable`."""

    def __init__(self, redis: "Redis", *, prefix: str, place: str) -> None:
        self._redis = cast(Any, redis)
        self._prefix = prefix
        self._place = place
        self._hold = self._redis.register_script(_HOLD)
        self._let_go = self._redis.register_script(_LET_GO)

    # Hints

    def announce(self, job: str) -> None:
        """Tell the dispatcher that something about a job is new in the store. Only a hint: it looks by itself too."""
        with mapped_errors(self._place):
            self._redis.sadd(f"{self._prefix}:announced", job)

    def announced(self) -> set[str]:
        """Take all hints."""
        with mapped_errors(self._place):
            return set(self._redis.spop(f"{self._prefix}:announced", 1000) or ())

    # Workers

    def report(self, report: WorkerReport) -> None:
        """A worker says that it is there."""
        now = self.now()
        stamped = report.model_copy(update={"seen": now})
        with mapped_errors(self._place):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hset(f"{self._prefix}:workers", report.worker, stamped.model_dump_json())
            pipeline.set(f"{self._prefix}:workers_since", now, nx=True)
            pipeline.execute()

    def leave(self, worker: str) -> None:
        """A worker says that it ends."""
        with mapped_errors(self._place):
            self._redis.hdel(f"{self._prefix}:workers", worker)

    def workers(self) -> list[WorkerReport]:
        """Workers seen lately; those silent for longer are forgotten."""
        reports = (_report(text) for text in self._present().values())
        return [report for report in reports if report is not None]

    def _present(self) -> dict[str, str]:
        """Reports of the workers seen lately, also of those whose version writes others than ours."""
        key = f"{self._prefix}:workers"
        with mapped_errors(self._place):
            found = self._redis.hgetall(key)
        oldest = self.now() - int(SILENT_SECONDS * 1000)
        silent = [worker for worker, text in found.items() if _seen(text) < oldest]
        if silent:
            with mapped_errors(self._place):
                self._redis.hdel(key, *silent)
        return {worker: text for worker, text in found.items() if worker not in silent}

    def nobody_has(self, job: str, model: str, *, worker: str) -> bool:
        """A worker cannot load a model of a job. True where every living worker said so lately.

        A Redis that does not know yet who lives, as it was emptied a moment ago, makes nobody of them.
        """
        key, now = f"{self._prefix}:job:{job}:lacking", self.now()
        with mapped_errors(self._place):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.hset(key, f"{worker}|{model}", now)
            pipeline.expire(key, LACKING_SECONDS)
            pipeline.hgetall(key)
            pipeline.get(f"{self._prefix}:workers_since")
            *_, found, since = pipeline.execute()
        if since is None or int(since) > now - int(SETTLED_SECONDS * 1000):
            return False
        said = (name.split("|") for name, at in found.items() if int(at) > now - LACKING_SECONDS * 1000)
        lacking = {who for who, what in said if what == model}
        present = self._present().keys()
        return worker in present and present <= lacking

    # Locks

    def lead(self, leader: str, seconds: float) -> bool:
        """Take or keep the leader's lock. It only saves work: two leaders do no harm."""
        return self.hold("leader", leader, seconds)

    def resign(self, leader: str) -> None:
        """Give the leader's lock up, so that another dispatcher goes on at once."""
        self.let_go("leader", leader)

    def leader(self) -> str | None:
        """Host and process id of the dispatcher at work, or None."""
        with mapped_errors(self._place):
            return cast("str | None", self._redis.get(f"{self._prefix}:leader"))

    def hold(self, lock: str, owner: str, seconds: float) -> bool:
        """Take or keep a lock. A Redis that forgot it gives it to the next who asks."""
        with mapped_errors(self._place):
            return bool(self._hold(keys=[f"{self._prefix}:{lock}"], args=[owner, int(seconds * 1000)]))

    def let_go(self, lock: str, owner: str) -> None:
        """Give a lock up."""
        with mapped_errors(self._place):
            self._let_go(keys=[f"{self._prefix}:{lock}"], args=[owner])

    # The server

    def now(self) -> int:
        """Redis' clock in ms: the one clock that leases are measured by."""
        with mapped_errors(self._place):
            seconds, micros = self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def ping(self) -> Mapping[str, Any]:
        """Redis' own account of itself."""
        with mapped_errors(self._place):
            return cast(Mapping[str, Any], self._redis.info("server"))


def _report(text: str) -> WorkerReport | None:
    try:
        return WorkerReport.model_validate_json(text)
    except ValidationError:
        return None  # of a worker of another version, which is there all the same


def _seen(text: str) -> int:
    """When a worker of any version reported, ms; 0 where it is no report."""
    try:
        return int(json.loads(text)["seen"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
