"""A Celery worker that does nothing but what the ledger sees of a worker: it takes the lease, and counts the task.

    python -m benchmarks.idle_worker NAME

It reads no plan, renders nothing and writes no piece, so that what is measured is broker, ledger and dispatcher.
"""

import sys
from typing import Any

from celery import shared_task

from schemas.queues import RENDER_QUEUE, RENDER_TASK
from schemas.task import TaskMessage
from services.celery_app import make_app
from services.ledger import CountDelta, Ledger
from services.redis_client import connect, place
from services.settings import load_settings
from workers.presence import Presence

LEASE_SECONDS = 30.0
ONE_ROW = CountDelta(done=1, failed=0, images=1, units=0.01, pausing=0, pausing_class="")


def _ledger() -> Ledger:
    redis = load_settings().redis
    return Ledger(connect(redis), prefix=redis.key_prefix, place=place(redis))


@shared_task(name=RENDER_TASK, bind=True)  # type: ignore[untyped-decorator]
def render(self: Any, **fields: Any) -> None:
    """Lease, count, nothing else."""
    message, ledger = TaskMessage.model_validate(fields), self.app.promptmill
    lease = ledger.lease(message.job, message.member, worker=self.app.main, seconds=LEASE_SECONDS)
    if lease.answer == "granted":
        ledger.count(message.job, message.member, ONE_ROW)


def main() -> None:
    """Run until TERM. The solo pool saves the way to a pool process, which has no part in this."""
    name = sys.argv[1]
    app = make_app(load_settings(), include=("benchmarks.idle_worker",))
    app.main = name
    app.promptmill = _ledger()
    Presence(app.promptmill, name, "none", lambda: ("", "")).start()
    arguments = [
        "worker",
        "--hostname",
        f"{name}@%h",
        "--queues",
        RENDER_QUEUE,
        "--pool",
        "solo",
        "--loglevel",
        "ERROR",
    ]
    app.worker_main([*arguments, "--without-gossip", "--without-mingle", "--without-heartbeat"])


if __name__ == "__main__":
    main()
