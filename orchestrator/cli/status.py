"""`promptmill status`, `list`, `workers`: where jobs stand."""

import sys
from typing import Any

import rich_click as click
from rich.live import Live
from rich.table import Table

from orchestrator.cli.failed import show_failures
from orchestrator.client import Client
from orchestrator.looking import looks
from orchestrator.status import JobStatus
from schemas.errors import JobPaused, ServiceError, SettingsError
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import counted, duration, err, print_json, print_table, say
from services.store_client import HURRIED

WATCH_SECONDS = 1.0
COLUMNS = ["JOB", "STATE", "ROWS", "DONE", "FAILED", "TASKS IN FLIGHT", "IMAGES", "IMAGES/S", "ETA", "WORKERS"]
NUMBERS = frozenset(COLUMNS[2:])


@click.command()
@click.argument("job", required=False)
@click.option("--watch", is_flag=True, help="keep looking until the job has ended")
@click.option("--failed", is_flag=True, help="why rows failed: equal causes together, with some of the rows")
@json_option
@service_options
def status(job: str | None, watch: bool, failed: bool, as_json: bool, **options: Any) -> None:
    """Tell where a job stands, or all jobs.

    Rows done, failed and in flight, images, images a second, and when it will be done.

    Examples:

        promptmill status my-job --watch
        promptmill status my-job --failed
        promptmill status --json
    """
    if failed and (job is None or watch):
        raise SettingsError("--failed takes one job, and no --watch", hint="promptmill status my-job --failed")
    client = Client(take_settings(options), patience=HURRIED)
    if failed and job is not None:
        failures = client.failures(job)
        print_json(failures.model_dump()) if as_json else show_failures(failures)
        return
    if watch:
        _watch(client, job, as_json)
        return
    found = [client.status(job)] if job else list(client.jobs())
    _show(found, as_json=as_json, one=job is not None)


@click.command(name="list")
@json_option
@service_options
def list_jobs(as_json: bool, **options: Any) -> None:
    """List all jobs of the store."""
    _show(list(Client(take_settings(options), patience=HURRIED).jobs()), as_json=as_json, one=False)


@click.command()
@json_option
@service_options
def workers(as_json: bool, **options: Any) -> None:
    """List the workers that were seen in the last half minute."""
    found = Client(take_settings(options), patience=HURRIED).workers()
    if as_json:
        print_json([report.model_dump() for report in found])
        return
    rows = [[report.worker, report.host, report.device, report.job or "-", report.member or "-"] for report in found]
    print_table(["WORKER", "HOST", "DEVICE", "JOB", "TASK"], rows)


def _show(found: list[JobStatus], *, as_json: bool, one: bool) -> None:
    if as_json:
        print_json(found[0].model_dump() if one else [status.model_dump() for status in found])
        return
    print_table(COLUMNS, [_cells(status) for status in found], numbers=NUMBERS)
    if not found:
        say("no jobs yet: promptmill submit makes one")
    _remark(found, one=one)


def _watch(client: Client, job: str | None, as_json: bool) -> None:
    """Look every second, until all have ended or paused themselves. A service that goes away later ends no watch."""
    with Live(console=err(), refresh_per_second=4, transient=as_json) as live:
        last: list[JobStatus] = []
        for found in looks(lambda: [client.status(job)] if job else list(client.jobs()), WATCH_SECONDS):
            if isinstance(found, ServiceError):
                live.update(f"{found.message}; trying again")
                continue
            last = found
            live.update("" if as_json else _table(last))
            if as_json:
                for status in last:
                    print_json(status.model_dump())
            if last and all(status.ended or (status.state == "paused" and status.automatic) for status in last):
                break
    _remark(last, one=job is not None)
    if any(status.state == "paused" for status in last):
        sys.exit(JobPaused.exit_status)


def _remark(found: list[JobStatus], *, one: bool) -> None:
    for status in found:
        for line in remarks(status, one=one):
            say(line)


def _table(found: list[JobStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=True)
    for status in found:
        table.add_row(*_cells(status))
    return table


def _cells(status: JobStatus) -> list[str]:
    rate = f"{status.images_per_second:.1f}" if status.images_per_second else "-"
    return [
        status.job,
        status.state,
        f"{status.rows:,}",
        f"{status.done:,}",
        f"{status.failed:,}",
        f"{status.in_flight:,}",
        f"{status.images:,}",
        rate,
        duration(status.eta_seconds),
        f"{status.workers:,}",
    ]


def remarks(status: JobStatus, *, one: bool) -> list[str]:
    """What the user should know or do about a job, beside its numbers; of many jobs only what needs attention."""
    lines = []
    if status.reason:
        lines.append(f"{status.job}: {status.reason}")
    if status.state == "paused":
        lines.append(f"{status.job}: go on with: promptmill resume {status.job}")
    if status.ended and status.failed:
        classes = ", ".join(f"{count} {name}" for name, count in sorted((status.failures or {}).items()))
        lines.append(f"{status.job}: {counted(status.failed, 'row')} failed ({classes}): promptmill retry {status.job}")
        if one:
            lines.append(f"{status.job}: why: promptmill status {status.job} --failed")
    if status.ended and one:
        lines.append(f"{status.job}: get the images with: promptmill fetch {status.job} -o {status.job}")
    return lines
