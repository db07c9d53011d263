"""`promptmill doctor`: what is wrong, and what to do about it."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from importlib.metadata import entry_points
from typing import Any

import rich_click as click
from click import get_current_context
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.checks.machine import check_catalogue, check_disk, check_local_services, check_settings
from orchestrator.checks.redis import check_redis
from orchestrator.checks.store import check_store
from schemas.errors import PromptmillError, ServiceError
from services.cli.findings import CHECK_GROUP, Finding, warning, worst
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import err, print_json, say
from services.settings import Settings
from services.version import promptmill_version

Check = Callable[[Settings], Iterable[Finding]]
STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
LEVEL_WIDTH, NAME_WIDTH = 7, 21


@click.command()
@json_option
@service_options
def doctor(as_json: bool, **options: Any) -> None:
    """Check the services and this machine, and say what to do.

    Looks at Redis, the object store, the orchestrator, the workers, the device and the models. Writes one small
    object to the store, and deletes it. Exit status: 0, or 4 where a service is wrong.
    """
    settings = take_settings(options)
    found: list[Finding] = []
    for finding in _findings(settings):
        found.append(finding)
        if not as_json:
            _show(finding)
    level = worst(found)
    if as_json:
        print_json({"version": promptmill_version(), "level": level, "findings": [one.model_dump() for one in found]})
    else:
        say(_closing(found), style=STYLES[level])
    sys.exit(ServiceError.exit_status if level == "problem" else 0)


def _findings(settings: Settings) -> Iterator[Finding]:
    for name, check in _checks():
        console = err()
        waiting = console.status(f"looking at {name} ...") if console.is_terminal else nullcontext()
        with waiting:
            try:
                found = list(check(settings))
            except PromptmillError as error:
                found = [warning(name, error.message, error.hint)]
        yield from found


def _checks() -> Iterator[tuple[str, Check]]:
    root = get_current_context().find_root()
    yield "the settings", partial(check_settings, options=set(_option_names(root.command, root)))
    yield "Redis", check_redis
    yield "the object store", check_store
    yield "the catalogue", check_catalogue
    yield "the local services", check_local_services
    yield "the disk", check_disk
    for point in sorted(entry_points(group=CHECK_GROUP), key=lambda point: point.name):
        yield point.name, _loaded(point.name, point.load)


def _option_names(command: click.Command, context: click.Context) -> Iterator[str]:
    """The environment names of a command's options, and of those of all commands in it."""
    yield from (str(parameter.envvar) for parameter in command.params if parameter.envvar)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _option_names(inner, click.Context(inner, context, name))


def _loaded(name: str, load: Callable[[], Check]) -> Check:
    """A check of another package; its own libraries are imported when it runs, and may be missing."""

    def check(settings: Settings) -> Iterable[Finding]:
        try:
            return load()(settings)
        except ImportError as error:
            return [warning(name, f"cannot be checked: {error}", "pip install 'promptmill[worker]'")]

    return check


def _show(finding: Finding) -> None:
    todo = f"what to do: {finding.what_to_do}" if finding.what_to_do else ""
    console = Console(highlight=False)
    if not console.is_terminal:  # a line each, for other programs
        click.echo(f"{finding.level:<{LEVEL_WIDTH}} {finding.check:<{NAME_WIDTH}} {finding.message}")
        if todo:
            click.echo(" " * (LEVEL_WIDTH + NAME_WIDTH + 2) + todo)
        return
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_column(width=LEVEL_WIDTH)
    line.add_column(width=NAME_WIDTH)
    line.add_column(overflow="fold")
    line.add_row(f"[{STYLES[finding.level]}]{finding.level}[/]", finding.check, escape(finding.message))
    if todo:
        line.add_row("", "", f"[bold]{escape(todo)}[/]")
    console.print(line)


def _closing(found: list[Finding]) -> str:
    counts = [(sum(one.level == level for one in found), level) for level in ("problem", "warning")]
    told = [f"{count} {level}{'s' * (count != 1)}" for count, level in counts if count]
    return ", ".join(told) or "all is well"
