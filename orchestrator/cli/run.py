"""`promptmill run`: everything on this machine, from the manifest to a folder of images."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli.fetching import fetch_with_progress
from orchestrator.cli.local_stack import LocalStack
from orchestrator.cli.submitting import GoOn, request_of, submit_with_progress, take_prices
from orchestrator.cli.validating import tell_validated
from orchestrator.cli.watching import watch
from orchestrator.client import Client
from orchestrator.cost.measured import remember_here
from orchestrator.fetch import FetchReport
from orchestrator.fetch_folder import check_folder
from orchestrator.request import SubmitRequest
from orchestrator.status import JobStatus, final_summary
from schemas.errors import JobPaused, LocalDiskError
from schemas.job import JobDocument
from services import jobs
from services.cli.options import json_option, local_options, manifest_options, submit_options, take_settings
from services.cli.output import counted, print_json, say


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="folder for the images; default: JOB")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", default=1, show_default=True, help="processes")
@click.option("--gpus", metavar="all|0,1,...", help="one worker for each of these GPUs instead of --workers")
@click.option("--exact", is_flag=True, help="batches of one: bit-equal images on the same device and versions")
@click.option("--safety", type=click.Choice(["keep", "blur", "drop", "off"]), help="what to do with flagged images")
@json_option
@submit_options
@manifest_options
@local_options
def run(manifest: Path, out: Path | None, as_json: bool, **options: Any) -> None:
    """Render a manifest on this machine, and fetch its images.

    Redis, an object store, an orchestrator and the workers are started for it, and ended with it. Given again
    with the same --job-id it goes on where it stopped, also after a pause: nothing is rendered twice.

    Examples:

        promptmill run prompts.txt --set model=tiny -o out
        promptmill run parti.tsv --map prompt=Prompt --set model=sd15 --workers 2 --job-id parti
    """
    fleet = {name: options.pop(name) for name in ("workers", "gpus", "exact", "safety")}
    devices = len(fleet["gpus"].split(",")) if fleet["gpus"] not in (None, "all") else fleet["workers"]
    prices, dry_run = take_prices(options, None if fleet["gpus"] == "all" else devices), options.pop("dry_run")
    base = take_settings(options)
    if dry_run:
        with request_of(manifest, options) as request:
            tell_validated(request, Client(base), prices, as_json=as_json)
        return
    with request_of(manifest, options) as request, GoOn() as go_on, LocalStack(base, **fleet) as stack:
        client = Client(stack.settings)
        document = submit_with_progress(client, request, go_on)
        folder = out or Path(document.job)
        check_folder(folder, document.job)  # now, and not after the last image
        remember = False
        if not client.status(document.job).ended:
            _go_on(client, document, request)
            stack.start_work()
            remember = True
        try:
            status = watch(client, document.job, stack.check)
        except JobPaused:
            fetch_with_progress(client, document.job, folder)  # with failed.jsonl, which tells why
            raise
        if remember:
            _remember(client, document, base.data_dir)
        report = fetch_with_progress(client, document.job, folder)
    _tell_ended(status, report, folder, as_json=as_json)
    sys.exit(report.exit_status)


def _tell_ended(status: JobStatus, report: FetchReport, folder: Path, *, as_json: bool) -> None:
    told = "; metadata.jsonl there says what made each" if report.images else ""
    say(f"{counted(report.images, 'image')} in {folder}{os.sep}{told}")
    if status.failed:
        say(f"{counted(status.failed, 'row')} failed; failed.jsonl there says why", style="yellow")
    if as_json:
        print_json(status.model_dump() | {"folder": str(folder), "fetched": report.images})


def _remember(client: Client, document: JobDocument, data_dir: Path) -> None:
    """What this run took is what the next one is estimated by. A full disk does not spoil a run that has ended."""
    summary = final_summary(client.store, document)
    if summary is not None:
        with suppress(LocalDiskError):
            remember_here(data_dir, summary)


def _go_on(client: Client, document: JobDocument, request: SubmitRequest) -> None:
    """A job that was paused, by itself or in an earlier run, gets a new chance."""
    control = jobs.read_control(client.store, document)
    if control.state == "paused":
        say(f"it was paused{f' ({control.reason})' if control.reason else ''}; going on")
        client.resume(document.job, max_units=request.max_units)
