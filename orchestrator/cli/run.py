"""`promptmill run`: everything on this machine, from the manifest to a folder of images."""

import os
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli.fetching import fetch_with_progress
from orchestrator.cli.local_stack import LocalStack
from orchestrator.cli.submitting import request_of, submit_with_progress
from orchestrator.cli.watching import watch
from orchestrator.client import Client
from services.cli.options import json_option, local_options, manifest_options, submit_options, take_settings
from services.cli.output import print_json, say


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
    with the same --job-id it goes on where it stopped: nothing is rendered twice.

    Examples:

        promptmill run prompts.txt --set model=tiny -o out
        promptmill run parti.tsv --map prompt=Prompt --set model=sd15 --workers 2 --job-id parti
    """
    fleet = {name: options.pop(name) for name in ("workers", "gpus", "exact", "safety")}
    base = take_settings(options)
    with request_of(manifest, options) as request, LocalStack(base, **fleet) as stack:
        client = Client(stack.settings)
        document = submit_with_progress(client, request)
        if not client.status(document.job).ended:
            stack.start_work()
        status = watch(client, document.job, stack.check)
        folder = out or Path(document.job)
        report = fetch_with_progress(client, document.job, folder)
    say(f"{report.images:,} images in {folder}{os.sep}; see metadata.jsonl there for what made each")
    if status.failed:
        say(f"{status.failed:,} rows failed; see failed.jsonl there", style="yellow")
    if as_json:
        print_json(status.model_dump() | {"folder": str(folder), "fetched": report.images})
    sys.exit(report.exit_status)
