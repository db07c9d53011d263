"""`promptmill pause`, `resume`, `cancel`, `priority`, `retry`: steering a job."""

from typing import Any, get_args

import rich_click as click

from orchestrator.client import Client
from schemas.errors import ErrorClass
from schemas.job import ControlState
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import counted, print_json, say
from services.store_client import HURRIED


@click.command()
@click.argument("job")
@click.option("--reason", metavar="TEXT", default="", help="for the record, and for `status`")
@json_option
@service_options
def pause(job: str, reason: str, as_json: bool, **options: Any) -> None:
    """Stop handing out a job's tasks.

    Running tasks stop after their batch; nothing finished is lost.
    """
    _tell(job, Client(take_settings(options), patience=HURRIED).pause(job, reason), as_json)


@click.command()
@click.argument("job")
@click.option(
    "--max-units", type=click.FloatRange(min=0, min_open=True), metavar="UNITS", help="a new limit of its cost"
)
@json_option
@service_options
def resume(job: str, max_units: float | None, as_json: bool, **options: Any) -> None:
    """Go on with a paused job.

    A job that paused itself because it reached its --max-units needs a higher one here.
    """
    _tell(job, Client(take_settings(options), patience=HURRIED).resume(job, max_units=max_units), as_json)


@click.command()
@click.argument("job")
@click.option("--reason", metavar="TEXT", default="", help="for the record, and for `status`")
@json_option
@service_options
def cancel(job: str, reason: str, as_json: bool, **options: Any) -> None:
    """End a job with what it has; final.

    Running tasks stop within a denoising step. Finished images stay and can be fetched.
    """
    _tell(job, Client(take_settings(options), patience=HURRIED).cancel(job, reason), as_json)


@click.command()
@click.argument("job")
@click.argument("weight", type=click.IntRange(1, 10_000))
@json_option
@service_options
def priority(job: str, weight: int, as_json: bool, **options: Any) -> None:
    """Set a job's weight, from 1 to 10,000.

    Twice the weight, twice the share of the workers. A job starts with 100.

    Example:

        promptmill priority my-job 200
    """
    _tell(job, Client(take_settings(options), patience=HURRIED).prioritize(job, weight), as_json, f"weight {weight}")


@click.command()
@click.argument("job")
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice(get_args(ErrorClass)),
    help="only rows that failed so, repeatable",
)
@json_option
@service_options
def retry(job: str, classes: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Render a job's failed rows again, into the same job.

    Rows that are done stay as they are. The job must have ended.

    Examples:

        promptmill retry my-job
        promptmill retry my-job --class out_of_memory
    """
    found = Client(take_settings(options)).retry(job, error_classes=classes)
    if as_json:
        print_json({"job": job, "rows": found.totals.rows if found else 0, "round": found.round_id if found else None})
    elif found is None:
        say(f"{job}: no row failed{' so' if classes else ''}; there is nothing to retry")
    else:
        say(f"{job}: {counted(found.totals.rows, 'row')} again in {counted(found.totals.tasks, 'task')}")
        say(f"next: promptmill status {job} --watch")


def _tell(job: str, state: ControlState, as_json: bool, told: str = "") -> None:
    if as_json:
        print_json({"job": job, "state": state.state, "priority": state.priority, "reason": state.reason})
    else:
        say(f"{job}: {told or state.state}")
