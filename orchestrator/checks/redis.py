"""Redis, and what the ledger in it tells: the queue, the orchestrator, the workers."""

import re
import time
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from redis import Redis

from orchestrator.checks.reach import is_loopback, why_unreachable
from schemas.errors import LedgerUnavailable
from schemas.queues import RENDER_QUEUE
from services.broker import Broker
from services.celery_app import make_app
from services.cli.findings import Finding, ok, problem, warning
from services.ledger import Ledger
from services.redis_client import connect, place
from services.redis_errors import mapped_errors
from services.settings import Settings

OLDEST_TESTED = (6, 2)
CLOCK_SECONDS = 5.0
FULL = 0.9
SET_UP = "nothing for `promptmill run`, which brings its own; else start one and set PROMPTMILL_REDIS__URL"


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Redis itself; where it answers, the queue, the orchestrator and the workers as well."""
    url = settings.redis.url.get_secret_value()
    where = place(settings.redis)
    reason = why_unreachable(url)
    if reason is not None:
        if "url" in settings.redis.model_fields_set:
            yield problem("Redis", f"{reason}", f"start it, or set PROMPTMILL_REDIS__URL to where it is (now {where})")
        else:
            yield warning("Redis", f"not set up: no address is given, and {reason}", SET_UP)
        return
    client = connect(settings.redis)
    try:
        with mapped_errors(where):
            cast(Any, client).ping()
        yield from _server(client, where, has_password=bool(urlsplit(url).password), is_local=is_loopback(url))
        yield from _clock(client, where)
        yield from _ledger(settings, client, where)
    except LedgerUnavailable as error:
        todo = "write it as redis://:PASSWORD@HOST:PORT/0 in PROMPTMILL_REDIS__URL"
        yield problem("Redis", error.message, todo if "refused" in error.message else "look into Redis' own log")
    finally:
        client.close()


def _server(client: "Redis", where: str, *, has_password: bool, is_local: bool) -> Iterator[Finding]:
    try:
        with mapped_errors(where):
            info: dict[str, Any] = cast(Any, client).info()
    except LedgerUnavailable:
        yield ok("Redis", f"answers at {where}; its version and memory are not told to this user")
        return
    version = str(info.get("redis_version", "?"))
    guard = "with a password" if has_password else "without a password"
    told = f"version {version} at {where}, {guard}, {info.get('used_memory_human', '?')} in use"
    if info.get("cluster_enabled"):
        yield problem("Redis", f"{told}: a cluster", "use a single server: Celery's broker has no cluster mode")
    elif info.get("role") == "slave":
        yield problem("Redis", f"{told}: a replica, which refuses writes", "name the primary in PROMPTMILL_REDIS__URL")
    elif _numbers(version) < OLDEST_TESTED:
        yield warning("Redis", told, f"update it: {'.'.join(map(str, OLDEST_TESTED))} is the oldest that is tested")
    elif not has_password and not is_local:
        yield warning("Redis", told, "set `requirepass`: who reaches it can hand tasks to your workers")
    else:
        yield ok("Redis", told)
    yield from _memory(info)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    limit, policy = int(info.get("maxmemory", 0)), str(info.get("maxmemory_policy", "noeviction"))
    if not limit:
        yield ok("Redis memory", f"no limit; maxmemory-policy {policy}")
        return
    share = int(info.get("used_memory", 0)) / limit
    told = f"{share:.0%} of {info.get('maxmemory_human', limit)}; maxmemory-policy {policy}"
    if policy != "noeviction":
        todo = "CONFIG SET maxmemory-policy noeviction: else the queue itself can be evicted, and work is done twice"
        yield warning("Redis memory", told, todo)
    elif share > FULL:
        yield warning("Redis memory", told, "raise maxmemory: a full Redis takes no tasks")
    else:
        yield ok("Redis memory", told)


def _clock(client: "Redis", where: str) -> Iterator[Finding]:
    before = time.time()
    with mapped_errors(where):
        seconds, micros = cast(Any, client).time()
    difference = (before + time.time()) / 2 - (int(seconds) + int(micros) / 1e6)
    if abs(difference) > CLOCK_SECONDS:
        todo = "set both by NTP: pause, resume and cancel are ordered by the clock of the machine that says them"
        yield warning("Redis clock", f"differs from this machine's by {difference:+.1f} s", todo)
    else:
        yield ok("Redis clock", f"within {max(abs(difference), 0.001):.3f} s of this machine's")


def _ledger(settings: Settings, client: "Redis", where: str) -> Iterator[Finding]:
    ledger = Ledger(client, prefix=settings.redis.key_prefix, place=where)
    depth = _queue_depth(settings, client, where)
    workers = ledger.workers()
    tasks = f"{depth:,} task{'s' * (depth != 1)} waiting"
    if depth and not workers:
        yield warning("queue", f"{tasks} and no worker to take them", "start one: promptmill worker")
    else:
        yield ok("queue", tasks)
    leader = ledger.leader()
    if leader is None:
        yield warning("orchestrator", "none is at work: submitted jobs wait", "start one: promptmill orchestrator")
    else:
        yield ok("orchestrator", f"{leader} is at work")
    if workers:
        names = ", ".join(sorted(report.worker for report in workers)[:5])
        more = f" and {len(workers) - 5:,} more" if len(workers) > 5 else ""
        yield ok("workers", f"{len(workers):,} seen: {names}{more}")
    else:
        yield warning("workers", "none seen in the last 30 s", "start one on each GPU machine: promptmill worker")


def _queue_depth(settings: Settings, client: "Redis", where: str) -> int:
    broker = Broker(make_app(settings), client, where)
    try:
        return broker.depth(RENDER_QUEUE)
    finally:
        broker.close()
