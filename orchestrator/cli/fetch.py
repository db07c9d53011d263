"""`promptmill fetch`."""

import os
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli.fetching import fetch_with_progress
from orchestrator.client import Client
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import counted, print_json, say


@click.command()
@click.argument("job")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="folder for the images; default: JOB")
@json_option
@service_options
def fetch(job: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Download a job's images and their metadata.

    Every file is verified. Works in mid-job, and goes on where it stopped. Files are named by row id. The folder
    opens as a Hugging Face imagefolder.

    Example:

        promptmill fetch my-job -o my-job
    """
    folder = out or Path(job)
    report = fetch_with_progress(Client(take_settings(options)), job, folder)
    say(f"{counted(report.images, 'image')} in {folder}{os.sep} ({report.downloaded:,} new)")
    if report.rows_failed:
        say(f"{counted(report.rows_failed, 'row')} failed; failed.jsonl there says why", style="yellow")
    if as_json:
        counts = {name: getattr(report, name) for name in ("images", "downloaded", "kept", "dropped", "bytes")}
        rows = {name: getattr(report, name) for name in ("rows_done", "rows_failed", "rows_pending", "problem_count")}
        print_json({"job": job, "folder": str(folder)} | counts | rows)
    sys.exit(report.exit_status)
