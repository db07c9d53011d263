"""How `promptmill status JOB --failed` shows failures."""

from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from orchestrator.failures import FailureGroup, Failures
from services.cli.output import counted, out, say
from services.cli.visible import visible


def show_failures(failures: Failures) -> None:
    """A block for each group, the largest first: how many, why, which."""
    console = out()
    for group in failures.groups:
        console.print(f"[bold]{counted(group.rows, 'row')}[/]  [red]{group.error_class}[/]")
        console.print(Padding(Text(visible(_message(group))), (0, 0, 0, 2)))
        console.print(Padding(Text(_rows(group), style="dim"), (0, 0, 0, 2)))
    if failures.others:
        console.print(escape(f"and {counted(failures.others, 'row')} with yet other messages"))
    if not failures.rows:
        say(f"{failures.job}: no row failed")
        return
    first = failures.groups[0]
    say(f"{failures.job}: {counted(failures.rows, 'row')} failed")
    say(f"what happened to a row: promptmill logs {failures.job} {first.sample[0].id}")
    say(f"render them again: promptmill retry {failures.job} --class {first.error_class}")


def _message(group: FailureGroup) -> str:
    messages = {row.message for row in group.sample}
    return messages.pop() if len(messages) == 1 else f"{group.pattern}\nas in: {group.sample[0].message}"


def _rows(group: FailureGroup) -> str:
    more = group.rows - len(group.sample)
    told = "rows " + ", ".join(row.id for row in group.sample) + (f" and {more:,} more" if more else "")
    tried = f"; tried up to {group.attempts} times" if group.attempts > 1 else ""
    workers = f"; all on {next(iter(group.workers))}" if len(group.workers) == 1 and group.rows > 1 else ""
    return visible(told) + tried + workers
