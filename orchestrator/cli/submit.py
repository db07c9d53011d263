"""`promptmill validate` and `submit`."""

from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli.submitting import GoOn, manifest_progress, request_of, show_warnings, submit_with_progress
from orchestrator.client import Client
from orchestrator.submit import ValidationReport
from orchestrator.submit import validate as validate_manifest
from services.cli.options import (
    cut_options,
    json_option,
    manifest_options,
    service_options,
    submit_options,
    take_settings,
)
from services.cli.output import print_json, print_table, say


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path, allow_dash=True))
@json_option
@manifest_options
@cut_options
@service_options
def validate(manifest: Path, as_json: bool, **options: Any) -> None:
    """Check a manifest; nothing is sent.

    Prints every fault with its line, or what the manifest would come to.

    Examples:

        promptmill validate prompts.jsonl
        promptmill validate parti.tsv --map prompt=Prompt --set model=sd15
        zcat prompts.txt.gz | promptmill validate - --set model=tiny
    """
    settings = take_settings(options)
    with request_of(manifest, options) as request, manifest_progress() as show:
        report = validate_manifest(request, Client(settings).catalogue, settings, on_progress=show)
    if as_json:
        print_json(report.model_dump())
    else:
        _show(report)


def _show(report: ValidationReport) -> None:
    totals, manifest = report.totals, report.manifest
    earlier = totals.earlier_images
    facts = [
        ["rows", f"{totals.rows:,}"],
        ["images", f"{totals.images:,}" + (f", and {totals.earlier_images:,} of earlier stages" if earlier else "")],
        ["batches", f"{totals.batches:,} (rows that can share a denoising loop)"],
        ["tasks", f"{totals.tasks:,}"],
        ["units", f"{totals.units:,.2f} (1 unit: 512x512 at 50 steps)"],
        ["pipelines", ", ".join(f"{name} {rows:,}" for name, rows in manifest.pipelines.items())],
        ["models", ", ".join(f"{name} {rows:,}" for name, rows in manifest.models.items())],
    ]
    kept = ", ".join(f"{name} {rows:,}" for name, rows in manifest.extra_columns.items())
    facts.append(["kept as extra", kept or "no other columns"])
    print_table(["", ""], facts)
    show_warnings(report.warnings)
    for note in report.notes:
        say(note, style="dim")
    say("no faults", style="green")


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path, allow_dash=True))
@json_option
@manifest_options
@submit_options
@service_options
def submit(manifest: Path, as_json: bool, **options: Any) -> None:
    """Submit a manifest, and print the job's id.

    The same id with the same manifest goes on where it stopped.

    Examples:

        promptmill submit prompts.jsonl --set model=sd15
        promptmill submit parti.tsv --map prompt=Prompt --set model=sd15 --job-id parti
    """
    client = Client(take_settings(options))
    with request_of(manifest, options) as request, GoOn() as go_on:
        document = submit_with_progress(client, request, go_on)
    job = document.job
    if as_json:
        print_json({"job": job} | document.totals.model_dump())
    else:
        click.echo(job)
    say(f"next: promptmill status {job} --watch")
    say(f"then: promptmill fetch {job} -o {job}")
