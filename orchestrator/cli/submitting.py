"""What `submit`, `validate` and `run` share: the request from the options, and its progress."""

import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from orchestrator.client import Client
from orchestrator.cost.estimate import Prices
from orchestrator.manifests.formats import spool
from orchestrator.manifests.options import ManifestOptions, parse_map, parse_set
from orchestrator.submit import SubmitProgress, SubmitRequest
from schemas.errors import FaultGroup
from schemas.job import JobDocument
from services.cli.manifest_faults import show_groups
from services.cli.output import counted, err, say


def take_prices(options: dict[str, Any], workers: int | None = None) -> Prices:
    """Take what `cost_options` says about the machines out of a command's arguments."""
    given = {name: options.pop(name) for name in ("units_per_second", "price_per_hour")}
    return Prices(workers=workers, **given)


@contextmanager
def request_of(manifest: Path, options: dict[str, Any]) -> Iterator[SubmitRequest]:
    """The request that a command's options make. Standard input is spooled into a file first."""
    read = ManifestOptions(
        format=options.pop("file_format"),
        column_map=parse_map(options.pop("maps")),
        defaults=parse_set(options.pop("sets")),
        extra_columns=frozenset(options.pop("extras")),
    )
    if str(manifest) != "-":
        yield SubmitRequest(path=manifest, options=read, **options)
        return
    with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
        path = spool(sys.stdin.buffer, Path(folder))
        yield SubmitRequest(path=path, options=read, name=path.name, base_folder=Path(), **options)


@contextmanager
def manifest_progress() -> Iterator[Any]:
    """A progress bar over the rows of a manifest; silent where standard error is not a terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    console = err()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking", total=None)

        def show(progress: SubmitProgress) -> None:
            bar.update(task, description=progress.stage, completed=progress.rows, total=progress.total)

        yield show


def show_warnings(groups: tuple[FaultGroup, ...]) -> None:
    """Tell a manifest's warnings, on standard error."""
    show_groups(err(), groups, "yellow")
    total = sum(group.count for group in groups)
    if total:
        say(f"{counted(total, 'warning')}; --strict makes them faults", style="yellow")


class GoOn:
    """A context that says, on Ctrl-C, how to go on with the job whose id is known by then."""

    def __init__(self) -> None:
        self._job = ""

    def tell(self, job: str) -> None:
        """The job's id is known: say it, and remember it."""
        self._job = job
        say(f"job {job}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is KeyboardInterrupt and self._job:
            given = any(part.split("=")[0] == "--job-id" for part in sys.argv)
            again = ["promptmill", *map(_without_password, sys.argv[1:]), *([] if given else ["--job-id", self._job])]
            raise KeyboardInterrupt(f"finished images are kept. Go on with: {shlex.join(again)}")


def _without_password(argument: str) -> str:
    return re.sub(r"://[^/@]*@", "://...@", argument)


def submit_with_progress(client: Client, request: SubmitRequest, go_on: GoOn) -> JobDocument:
    """Submit, telling the job's id before the upload."""
    with manifest_progress() as show:
        document = client.submit_request(request, on_job_id=go_on.tell, on_progress=show, on_warnings=show_warnings)
    totals = document.totals
    numbers = [counted(getattr(totals, f"{noun}s"), noun) for noun in ("row", "image", "task")]
    say(f"{', '.join(numbers)}, {totals.units:,.2f} units")
    return document
