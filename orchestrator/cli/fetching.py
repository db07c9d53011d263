"""A fetch with its progress bar, for `fetch` and `run`."""

from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from orchestrator.client import Client
from orchestrator.fetch import FetchProgress, FetchReport
from services.cli.output import counted, err, say


def fetch_with_progress(client: Client, job: str, out: Path) -> FetchReport:
    """Fetch a job's images, and tell what could not be had."""
    console = err()
    columns = (TextColumn("fetching"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("fetching", total=None)

        def show(progress: FetchProgress) -> None:
            bar.update(task, completed=progress.images, total=progress.total_images)

        report = client.fetch(job, out, on_progress=show)
    for problem in report.problems:
        say(f"{problem.file_name}: {problem.message} ({problem.key})", style="red")
    if report.problem_count:
        say(f"{counted(report.problem_count, 'image')} could not be had; the same command tries again", style="red")
    if report.rows_pending:
        say(f"{counted(report.rows_pending, 'row')} without images so far; the same command goes on later")
    return report
