"""A job's progress bar: rows, images a second, and when it will be done."""

import math
import time
from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.client import Client
from orchestrator.status import JobStatus
from schemas.errors import JobPaused, ServiceError
from services.cli.output import duration, err, say

LOOK_SECONDS = 0.5
LINE_SECONDS = 10.0


def watch(client: Client, job: str, check: Callable[[], None]) -> JobStatus:
    """Show a job's progress until it has ended. `check` is called with every look and may raise.

    Raises:
        JobPaused: the job paused itself.
    """
    console = err()
    columns = (
        TextColumn("{task.fields[state]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[rate]} images/s, ETA {task.fields[eta]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        shown = _Shown(bar, check, lines=not console.is_terminal)
        try:
            return client.wait(job, on_status=shown.status, on_outage=shown.outage, every=LOOK_SECONDS)
        except JobPaused as error:
            hint = "failed.jsonl beside the images tells why; mend that, then give the same command again to go on"
            raise JobPaused(error.message, hint=hint) from None


class _Shown:
    """A bar that moves on a terminal, `lines` from time to time elsewhere."""

    def __init__(self, bar: Progress, check: Callable[[], None], *, lines: bool) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, state="waiting", rate="-", eta="-")
        self._check = check
        self._lines = lines
        self._told = -math.inf
        self._before = ""

    def status(self, status: JobStatus) -> None:
        self._check()
        if status.state == "paused" != self._before and not status.automatic:
            say(f"paused; go on with: promptmill resume {status.job}")
        self._before = status.state
        rate = f"{status.images_per_second:.1f}" if status.images_per_second else "-"
        eta = duration(status.eta_seconds)
        ended = status.done + status.failed + status.cancelled
        self._bar.update(self._task, completed=ended, total=status.rows, state=status.state, rate=rate, eta=eta)
        self._tell(f"{status.state}: {ended:,} of {status.rows:,} rows, {rate} images/s, ETA {eta}")

    def outage(self, error: ServiceError) -> None:
        self._check()
        self._bar.update(self._task, state=f"{error.message}; trying again")
        self._tell(f"{error.message}; trying again")

    def _tell(self, line: str) -> None:
        if self._lines and time.monotonic() - self._told > LINE_SECONDS:
            self._told = time.monotonic()
            say(line)
