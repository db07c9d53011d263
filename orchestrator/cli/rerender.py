"""`promptmill rerender`: images again from their own metadata, and whether they came out the same."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli.local_stack import LocalStack
from orchestrator.cli.rerendering import Rerendering
from orchestrator.client import Client
from orchestrator.importing.inputs_by_content import InFolder, InputFiles, OfJob, OfLocalJobs, Source
from orchestrator.rerender.comparing import Outcome, Verdict
from orchestrator.rerender.from_job import download_rows
from orchestrator.rerender.kept import KeptFiles
from orchestrator.rerender.originals import Original, read_original, rows_of
from schemas.errors import InvalidInput, SettingsError
from schemas.keys import is_job_id
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import print_json, say
from services.local_state import running_services
from services.settings import Settings

_WORDS: dict[Outcome, str] = {
    "equal": "bit-equal",
    "same_pixels": "the same pixels; the file's text differs",
    "differs": "differs",
    "failed": "not rendered",
}


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|ROW...")
@click.option("--job", metavar="JOB", help="what is no file is a row of this job; its inputs are found too")
@click.option(
    "--inputs",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="look for input images here, by content; repeatable",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="keep the new images here")
@click.option("--force", is_flag=True, help="write over other files in DIR; never over an image to compare with")
@click.option("--gpus", metavar="0|1|...", help="render on this GPU")
@json_option
@service_options
def rerender(
    images: tuple[str, ...],
    job: str | None,
    folders: tuple[Path, ...],
    out: Path | None,
    force: bool,
    gpus: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Render images again from their own metadata, and compare.

    The same recipe, in batches of the recorded size and at the recorded place in them, on this machine. Says of each
    image whether it is bit-equal, and else what was different. Needs the extras `worker` and `local`.

    Exit status: 0 where all pixels are the same, else 1.

    Examples:

        promptmill rerender my-job/fox.png
        promptmill rerender my-job/house-winter.png --inputs originals -o again
        promptmill rerender --job my-job fox house-winter
    """
    settings = take_settings(options)
    if job is not None and not is_job_id(job):
        raise SettingsError(f"--job {job}: not a job's id", hint="`promptmill list` names all jobs")
    with tempfile.TemporaryDirectory(prefix="promptmill-rerender-") as name:
        scratch = Path(name)
        sources: list[Source] = [*map(InFolder, folders), OfLocalJobs(settings.data_dir)]
        files = [Path(image) for image in images if Path(image).exists()]
        ids = [image for image in images if not Path(image).exists()]
        if job is None and ids:
            raise SettingsError(f"no such file: {ids[0]}", hint="--job JOB names the job that a row is in")
        if job is not None:
            with _job_store(settings, job) as client:
                files += download_rows(client.store, job, ids, _made(scratch / job)) if ids else []
            sources.append(OfJob(client.store, job, scratch / "inputs"))
        originals, verdicts = _read(files, scratch)
        kept = None if out is None else KeptFiles(out, originals, force=force)
        work = Rerendering(settings, InputFiles(sources), scratch, kept, gpus)
        verdicts += work.run(rows_of(originals))
    order = {_label(file, scratch): place for place, file in enumerate(files)}
    _tell(sorted(verdicts, key=lambda verdict: order[verdict.file]), as_json=as_json)
    sys.exit(0 if all(one.outcome in ("equal", "same_pixels") for one in verdicts) else 1)


@contextmanager
def _job_store(settings: Settings, job: str) -> Iterator[Client]:
    """The store that a job is in. That of a `promptmill run` which has ended is started for it, without workers."""
    lies_here = any((settings.data_dir / "s3").glob(f"*/jobs/{job}/job.json"))
    if not lies_here or running_services(settings.data_dir):
        yield Client(settings)
        return
    with LocalStack(settings, workers=1, gpus=None, exact=False, safety=None) as stack:
        yield Client(stack.settings)


def _label(file: Path, scratch: Path) -> str:
    """What a file is called: as the user named it, those of a job JOB/ROW/0.png."""
    return str(file.relative_to(scratch) if file.is_relative_to(scratch) else file)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _read(files: Sequence[Path], scratch: Path) -> tuple[list[Original], list[Verdict]]:
    """Images with a recipe of ours, and a verdict on each of the others."""
    originals, verdicts = [], []
    for file in files:
        label = _label(file, scratch)
        try:
            originals.append(read_original(file, label))
        except InvalidInput as error:
            told = f"{error.message}; {error.hint}" if error.hint else error.message
            verdicts.append(Verdict(file=label, outcome="failed", reasons=(told,)))
    return originals, verdicts


def _tell(verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    if as_json:
        print_json([verdict.model_dump() for verdict in verdicts])
        return
    for verdict in verdicts:
        kept = f", kept as {verdict.kept}" if verdict.kept else ""
        click.echo(f"{verdict.file}: {_WORDS[verdict.outcome]}{kept}")
        for reason in verdict.reasons:
            click.echo(f"  {reason}")
    equal = sum(one.outcome == "equal" for one in verdicts)
    say(f"{equal:,} of {len(verdicts):,} bit-equal", style="green" if equal == len(verdicts) else "yellow")
