"""A job's progress bar: rows, images a second, and when it will be done."""

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
        task = bar.add_task("", total=None, state="waiting", rate="-", eta="-")
        told = 0.0
        before = ""

        def show(status: JobStatus) -> None:
            nonlocal told, before
            check()
            if status.state == "paused" != before and not status.automatic:
                say(f"paused; go on with: promptmill resume {job}")
            before = status.state
            rate = f"{status.images_per_second:.1f}" if status.images_per_second else "-"
            eta = duration(status.eta_seconds)
            ended = status.done + status.failed + status.cancelled
            bar.update(task, completed=ended, total=status.rows, state=status.state, rate=rate, eta=eta)
            if not console.is_terminal and time.monotonic() - told > LINE_SECONDS:
                told = time.monotonic()
                say(f"{status.state}: {ended:,} of {status.rows:,} rows, {rate} images/s, ETA {eta}")

        def wait_on(error: ServiceError) -> None:
            check()
            bar.update(task, state=f"{error.message}; trying again")

        try:
            return client.wait(job, on_status=show, on_outage=wait_on, every=LOOK_SECONDS)
        except JobPaused as error:
            hint = "failed.jsonl beside the images tells why; mend that, then give the same command again to go on"
            raise JobPaused(error.message, hint=hint) from None
