"""`python -m workers.process`: one Celery worker with one pool process. `promptmill worker` starts one per device.

The pool process renders; this one only talks to the broker, so a task that ends its process (out of memory, a hung
kernel) takes nothing else with it. TERM lets the task stop at its next step and give back the rest. Should this
process be killed, the kernel ends the pool process with it (Celery asks it to), and the lease brings the task back.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import psutil
from celery import signals

from schemas.queues import RENDER_QUEUE
from services.celery_app import make_app
from services.failpoints import failpoint
from services.logging import configure_logging
from services.settings import load_settings
from workers.workplace import FLEET_VARIABLE, worker_name

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Run until TERM. A second TERM ends the pool process at once; its lease expires then."""
    _end_with_the_fleet()
    settings = load_settings()
    configure_logging(settings.log_level)
    signals.worker_shutting_down.connect(_tell_the_pool)
    signals.setup_logging.connect(_keep_our_logging)
    signals.task_received.connect(_on_received)
    app = make_app(settings, include=("workers.tasks",))
    arguments = ["worker", "--hostname", f"{worker_name()}@%h", "--queues", RENDER_QUEUE]
    app.worker_main([*arguments, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def _end_with_the_fleet() -> None:
    """Have the kernel send a TERM when the fleet's process is gone, whatever killed it. Linux's prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    fleet = os.environ.get(FLEET_VARIABLE)
    if fleet is not None and os.getppid() != int(fleet):  # it died before the call
        sys.exit(0)


def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone where this signal has a receiver."""


def _on_received(**_: Any) -> None:
    failpoint("worker.popped")  # out of the queue, and not yet with the pool


def _tell_the_pool(**_: Any) -> None:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    # The pool's processes are spawned from this module: they import it, and must not run it.
    main()
    sys.exit(0)
