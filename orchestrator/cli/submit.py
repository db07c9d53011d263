"""`promptmill validate` and `submit`."""

from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli.submitting import GoOn, request_of, submit_with_progress, take_prices
from orchestrator.cli.validating import tell_validated
from orchestrator.client import Client
from services.cli.options import (
    cost_options,
    cut_options,
    json_option,
    manifest_options,
    service_options,
    submit_options,
    take_settings,
)
from services.cli.output import print_json, say
from services.store_client import HURRIED


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path, allow_dash=True))
@json_option
@manifest_options
@cut_options
@cost_options
@service_options
def validate(manifest: Path, as_json: bool, **options: Any) -> None:
    """Check a manifest; nothing is sent.

    Prints every fault with its line, or what the manifest would come to: rows, images, cost, time, storage.

    Examples:

        promptmill validate prompts.jsonl
        promptmill validate parti.tsv --map prompt=Prompt --set model=sd15 --report faults.csv
        promptmill validate big.parquet --units-per-second 0.9 --price-per-hour 1.80
        zcat prompts.txt.gz | promptmill validate - --set model=tiny
    """
    prices = take_prices(options)
    settings = take_settings(options)
    with request_of(manifest, options) as request:
        tell_validated(request, Client(settings), prices, as_json=as_json)


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
    prices, dry_run = take_prices(options), options.pop("dry_run")
    settings = take_settings(options)
    if dry_run:
        with request_of(manifest, options) as request:
            tell_validated(request, Client(settings, patience=HURRIED), prices, as_json=as_json, ask_services=True)
        return
    with request_of(manifest, options) as request, GoOn() as go_on:
        document = submit_with_progress(Client(settings), request, go_on)
    job = document.job
    if as_json:
        print_json({"job": job} | document.totals.model_dump())
    else:
        click.echo(job)
    say(f"next: promptmill status {job} --watch")
    say(f"then: promptmill fetch {job} -o {job}")
