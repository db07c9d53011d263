"""`promptmill logs`."""

from datetime import datetime
from typing import Any

import rich_click as click
from rich.markup import escape
from rich.table import Table

from orchestrator.client import Client
from orchestrator.events import Event, History
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import counted, duration, out, print_json, print_table, say
from services.cli.visible import visible
from services.store_client import HURRIED

STYLES = {"failed": "red", "lost": "yellow", "left": "yellow", "done": "green"}
WORKER_COLUMNS = ["WORKER", "ROWS DONE", "FAILED", "IMAGES", "DENOISING", "FIRST", "LAST"]


@click.command()
@click.argument("job")
@click.argument("row", required=False)
@click.option("--tail", type=click.IntRange(0), metavar="N", default=50, show_default=True, help="last events; 0: all")
@json_option
@service_options
def logs(job: str, row: str | None, tail: int, as_json: bool, **options: Any) -> None:
    """Tell what happened to a job, or to one of its rows.

    Of a job: who submitted, paused or resumed it, which workers were lost, who rendered how much. Of a row (its id,
    or its number from 0): every attempt with its worker, its time and how it ended. Times are UTC.

    What happened comes from the results in the object store; where tasks stand now, from Redis while the job runs.

    Examples:

        promptmill logs my-job
        promptmill logs my-job cat-17
        promptmill status my-job --failed
    """
    client = Client(take_settings(options), patience=HURRIED)
    history = client.history(job, row)
    if as_json:
        print_json(history.model_dump())
        return
    _show(history, tail)


def _show(history: History, tail: int) -> None:
    shown = history.events[-tail:] if tail else history.events
    if len(shown) < len(history.events):
        say(f"{counted(len(history.events) - len(shown), 'earlier event')} left out; --tail 0 shows all", style="dim")
    if history.row is not None:
        say(f"row {history.row} ({history.index:,} from 0 in the manifest) of {history.job}", style="bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in shown:
        table.add_row(_time(event.at), _text(event))
    out().print(table)
    for line in history.now:
        say(f"now: {line}")
    if history.workers:
        out().print()
        rows = [_share(worker.model_dump()) for worker in history.workers]
        print_table(WORKER_COLUMNS, rows, numbers=frozenset(WORKER_COLUMNS[1:5]))
    if history.rows_with_losses:
        say(f"{counted(history.rows_with_losses, 'row')} came only after a worker was lost")


def _text(event: Event) -> str:
    text = escape(visible(event.text)) + (" [dim](this counts)[/]" if event.counts else "")
    style = STYLES.get(event.kind)
    return f"[{style}]{text}[/]" if style else text


def _share(share: dict[str, Any]) -> list[str]:
    numbers = [f"{share[name]:,}" for name in ("done", "failed", "images")]
    return [share["worker"], *numbers, duration(share["seconds"]), _time(share["first"]), _time(share["last"])]


def _time(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return "?"
