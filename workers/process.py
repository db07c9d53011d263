"""`python -m workers.process`: one Celery worker with one pool process. `promptmill worker` starts one per device.

The pool process renders; this one only talks to the broker, so a task that ends its process (out of memory, a hung
kernel) takes nothing else with it. TERM lets the task stop at its next step and give back the rest. Should this
process be killed, the kernel ends the pool process with it (Celery asks it to), and the lease brings the task back.
"""

import os
import signal
import sys
from typing import Any

import psutil
from celery import signals

from schemas.queues import RENDER_QUEUE
from services.celery_app import make_app
from services.logging import configure_logging
from services.settings import load_settings
from workers.workplace import worker_name


def main() -> None:
    """Run until TERM. A second TERM ends the pool process at once; its lease expires then."""
    settings = load_settings()
    configure_logging(settings.log_level)
    signals.worker_shutting_down.connect(_tell_the_pool)
    signals.setup_logging.connect(_keep_our_logging)
    app = make_app(settings, include=("workers.tasks",))
    arguments = ["worker", "--hostname", f"{worker_name()}@%h", "--queues", RENDER_QUEUE]
    app.worker_main([*arguments, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone where this signal has a receiver."""


def _tell_the_pool(**_: Any) -> None:
    for child in psutil.Process().children():
        if child.pid != os.getpid():
            child.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    # The pool's processes are spawned from this module: they import it, and must not run it.
    main()
    sys.exit(0)
