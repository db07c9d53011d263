"""Every fault of the soak, a function each: it breaks something of a running mill, and mends what no one else would.

Each asserts that it happened. What a user's machines would do by themselves (a new worker where one was killed, Redis
started again) is part of the fault; everything else is promptmill's to bring back.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from schemas.queues import RENDER_QUEUE
from tests.faults.fault_mill import FaultMill
from tests.faults.s3_proxy import StoreFault


@dataclass
class Plant:
    """A mill with an orchestrator and some workers that are kept alive, and the job that it works on."""

    mill: FaultMill
    dice: random.Random
    lease_seconds: float
    engine: str
    variables: dict[str, str]
    workers: list[str] = field(default_factory=list)
    orchestrators: list[str] = field(default_factory=list)
    job: str = ""
    _started: int = 0

    def add_worker(self) -> None:
        """One more worker."""
        self._started += 1
        name = f"worker-{self._started}"
        self.mill.worker(name, engine=self.engine, **self.variables)
        self.workers.append(name)

    def add_orchestrator(self) -> None:
        """One more orchestrator."""
        self._started += 1
        name = f"orchestrator-{self._started}"
        self.mill.orchestrator(name)
        self.orchestrators.append(name)

    def any_worker(self) -> str:
        """A worker whose process runs and has its pool child."""
        ready = [name for name in self.workers if self.mill.has_pool_child(name)]
        return self.dice.choice(ready or self.workers)


def worker_killed(plant: Plant) -> None:
    replace_worker(plant, plant.any_worker())


def replace_worker(plant: Plant, name: str) -> None:
    """kill -9 of a worker and all of its processes; a new one is started."""
    plant.mill.kill_tree(name)
    plant.workers.remove(name)
    plant.add_worker()


def worker_group_killed(plant: Plant) -> None:
    plant.mill.kill_group(plant.any_worker())


def pool_child_killed(plant: Plant) -> None:
    plant.mill.pool_child(plant.any_worker()).kill()


def worker_termed(plant: Plant) -> None:
    name = plant.any_worker()
    assert plant.mill.stop(name, 30) == 0, f"{name} did not end within its notice"
    plant.workers.remove(name)
    plant.add_worker()


def worker_termed_twice(plant: Plant) -> None:
    """One whose pool child stands still cannot obey the first one."""
    name = plant.any_worker()
    plant.mill.pool_child(name).suspend()
    for _ in range(2):
        os.kill(plant.mill.pid(name), signal.SIGTERM)
        time.sleep(2)
    plant.mill.wait_for_exit(name)
    plant.workers.remove(name)
    plant.add_worker()


def worker_stopped(plant: Plant) -> None:
    child = plant.mill.pool_child(plant.any_worker())
    child.suspend()
    time.sleep(plant.lease_seconds * 1.3)
    child.resume()


def orchestrator_killed(plant: Plant) -> None:
    name = plant.orchestrators.pop()
    plant.mill.kill_tree(name)
    plant.add_orchestrator()


def second_orchestrator(plant: Plant) -> None:
    plant.add_orchestrator()
    time.sleep(4)
    plant.mill.kill_tree(plant.orchestrators.pop(0))
    (newer,) = plant.orchestrators
    leads = _soon(lambda: plant.mill.leader_pid() == plant.mill.pid(newer) or plant.mill.ended(plant.job), 60)
    assert leads, "the second one never led"


def redis_killed(plant: Plant) -> None:
    with plant.mill.redis_down():
        time.sleep(plant.dice.uniform(0.2, 4))


def redis_flushed(plant: Plant) -> None:
    plant.mill.redis.flushall()


def redis_clients_killed(plant: Plant) -> None:
    assert _soon(lambda: _kill_clients(plant.mill.redis) > 0)


def _kill_clients(redis: "Redis") -> int:
    return int(redis.client_kill_filter(_type="normal", skipme=True))


def redis_cut(plant: Plant) -> None:
    assert _soon(lambda: plant.mill.redis_proxy.cut() > 0)


def redis_silent(plant: Plant) -> None:
    assert _soon(lambda: plant.mill.redis_proxy.silence() > 0)


def redis_full(plant: Plant) -> None:
    redis = plant.mill.redis
    before = _refused_writes(redis)
    redis.config_set("maxmemory", 1)
    try:
        _soon(lambda: _refused_writes(redis) > before or plant.mill.ended(plant.job), 60)
        time.sleep(plant.dice.uniform(0.2, 3))
    finally:
        redis.config_set("maxmemory", 0)
    assert _refused_writes(redis) > before or plant.mill.ended(plant.job), "nobody wrote"


def _refused_writes(redis: "Redis") -> int:
    found: dict[str, Any] = redis.info("errorstats")
    return int(found.get("errorstat_OOM", {}).get("count", 0))


def publish_reply_lost(plant: Plant) -> None:
    proxy = plant.mill.redis_proxy
    before = proxy.swallowed
    proxy.swallow_reply(b"LPUSH")
    _soon(lambda: proxy.swallowed > before or plant.mill.ended(plant.job), 60)
    proxy.swallow_reply(b"", 0)
    assert proxy.swallowed > before or plant.mill.ended(plant.job), "nothing was published"


def store_slow_down(plant: Plant) -> None:
    _store(plant, StoreFault("status", chance=0.7), 5)


def store_errors(plant: Plant) -> None:
    _store(plant, StoreFault("status", status=500, code="InternalError", chance=0.5), 5)


def store_put_cut(plant: Plant) -> None:
    _store(plant, StoreFault("cut", method="PUT", times=5), 5)


def store_put_reply_lost(plant: Plant) -> None:
    _store(plant, StoreFault("lost", method="PUT", times=5), 5)


def store_hangs(plant: Plant) -> None:
    _store(plant, StoreFault("hang"), 4)


def bucket_gone(plant: Plant) -> None:
    _store(plant, StoreFault("status", status=404, code="NoSuchBucket"), 3)


def credentials_revoked(plant: Plant) -> None:
    _store(plant, StoreFault("status", status=403, code="InvalidAccessKeyId"), 3)


def _store(plant: Plant, fault: StoreFault, seconds: float) -> None:
    with plant.mill.s3_proxy.during(fault):
        _soon(lambda: fault.fired > 0 or plant.mill.ended(plant.job), 60)  # a new orchestrator may not lead yet
        time.sleep(seconds)
    assert fault.fired > 0 or plant.mill.ended(plant.job), "the store was not asked"


def job_paused_and_resumed(plant: Plant) -> None:
    plant.mill.steer(plant.job, "pause")
    time.sleep(plant.dice.uniform(0.2, 3))
    plant.mill.steer(plant.job, "resume")


def priority_changed(plant: Plant) -> None:
    plant.mill.client.prioritize(plant.job, plant.dice.randint(1, 1000))


def junk_in_the_queue(plant: Plant) -> None:
    for text in ("", "junk", "[]", '{"body": "e30=", "headers": {"id": 3}}'):
        plant.mill.redis.rpush(RENDER_QUEUE, text)


def messages_doubled(plant: Plant) -> None:
    texts: list[str] = []

    def waiting() -> bool:
        texts[:] = plant.mill.redis.lrange(RENDER_QUEUE, 0, -1)
        return bool(texts) or plant.mill.ended(plant.job)

    assert _soon(waiting, 60), "no message waited"
    for text in texts * 10:
        plant.mill.redis.lpush(RENDER_QUEUE, text)


def _soon(condition: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


FAULTS: tuple[Callable[[Plant], None], ...] = (
    worker_killed,
    worker_group_killed,
    pool_child_killed,
    worker_termed,
    worker_termed_twice,
    worker_stopped,
    orchestrator_killed,
    second_orchestrator,
    redis_killed,
    redis_flushed,
    redis_clients_killed,
    redis_cut,
    redis_silent,
    redis_full,
    publish_reply_lost,
    store_slow_down,
    store_errors,
    store_put_cut,
    store_put_reply_lost,
    store_hangs,
    bucket_gone,
    credentials_revoked,
    job_paused_and_resumed,
    priority_changed,
    junk_in_the_queue,
    messages_doubled,
)
