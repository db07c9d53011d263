"""`promptmill import`: from images back to a manifest."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import IO, Any

import orjson
import rich_click as click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from orchestrator.client import Client
from orchestrator.importing.collect import Importer, ImportOptions
from orchestrator.importing.files import SUFFIXES as IMAGES
from orchestrator.importing.inputs_by_content import InFolder, InputFiles, OfJob, OfLocalJobs, Source
from orchestrator.importing.reading import Finding, FindingKind
from orchestrator.importing.report import ImportReport
from orchestrator.local_disk import is_same_file, whole_file
from schemas.errors import SettingsError
from schemas.keys import is_job_id
from services.catalogue import Catalogue
from services.cli.options import json_option, service_options, take_settings
from services.cli.output import counted, err, print_json, say
from services.settings import Settings

SHOWN = 10
_HEADINGS: dict[FindingKind, tuple[str, str]] = {
    "unreadable": ("image", "cannot be read"),
    "not_taken": ("image", "give no row"),
    "no_metadata": ("image", "without metadata"),
    "missing_input": ("input image", "not found; first named by"),
    "incomplete": ("row", "without all of its images here; rendered again, it makes all of them"),
    "renamed": ("row", "with another id, as theirs is taken"),
}


class _NoRow(Exception):
    """There is nothing to put in the manifest's place."""


@click.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="DIR|FILES...", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="the manifest; default: printed")
@click.option("--each", is_flag=True, help="a row for each image, with its own seed")
@click.option(
    "--inputs",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="look for input images here, by content; repeatable",
)
@click.option("--job", metavar="JOB", help="take input images from this job, into inputs/ beside the manifest")
@click.option(
    "--map-model", "models", multiple=True, metavar="NAME=ALIAS", help="what a model is called here; repeatable"
)
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE", help="every finding, as JSON Lines")
@click.option("--force", is_flag=True, help="write over a manifest that is there")
@json_option
@service_options
def import_images(
    paths: tuple[Path, ...],
    out: Path | None,
    each: bool,
    folders: tuple[Path, ...],
    job: str | None,
    models: tuple[str, ...],
    report: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a manifest of images, from what they say of themselves.

    Images of promptmill give back the rows that made them. Of A1111, ComfyUI, InvokeAI, Fooocus and NovelAI comes
    what has a field here; the rest is listed. PNG, JPEG and WebP; pixels are never decoded.

    Input images are named by content (sha256:HEX) in an image: --inputs and --job find the files.

    Examples:

        promptmill import my-job -o again.jsonl
        promptmill import downloads --map-model dreamshaper_8=our-style -o manifest.jsonl
        promptmill import out/fox.png out/house.png --inputs originals | promptmill validate -
    """
    if as_json and out is None:
        raise SettingsError("--json prints the report where the manifest would go", hint="name the manifest with -o")
    _check_outputs(out, report, paths, force=force)
    settings = take_settings(options)
    catalogue = Client(settings).catalogue
    folder = out.parent if out else Path()
    how = ImportOptions(each=each, models=parse_models(models, catalogue), folder=folder)
    files = InputFiles([InFolder(place) for place in folders] + _of_job(settings, job, folder / "inputs"))
    with _report(report) as on_finding, suppress(_NoRow), _manifest(out) as manifest, _progress() as show:
        importer = Importer(how, catalogue, files, _lines(manifest), on_finding=on_finding, on_progress=show)
        found = importer.run(paths)
        if not found.rows:
            raise _NoRow
    _tell(found, out)
    if not found.rows:
        raise SettingsError(f"no row in {counted(found.files, 'image')}; no manifest was written")
    if as_json:
        print_json(found.model_dump())
    sys.exit(1 if found.counts.get("unreadable") else 0)


def parse_models(texts: tuple[str, ...], catalogue: Catalogue) -> dict[str, str]:
    """Read `--map-model NAME=ALIAS`.

    Raises:
        SettingsError: not of that form, or no such alias.
    """
    found = {}
    for text in texts:
        name, equals, alias = text.rpartition("=")
        if not equals or not name or not alias:
            raise SettingsError(f"--map-model {text}: expected NAME=ALIAS")
        found[name] = catalogue.resolve(alias)[0]
    return found


def _of_job(settings: Settings, job: str | None, into: Path) -> list[Source]:
    """Where a job's inputs are: in the data folder of `promptmill run`, or in the object store."""
    if job is None:
        return []
    if not is_job_id(job):
        raise SettingsError(f"--job {job}: not a job's id", hint="`promptmill list` names all jobs")
    if any((settings.data_dir / "s3").glob(f"*/jobs/{job}/job.json")):
        return [OfLocalJobs(settings.data_dir, job)]
    return [OfJob(Client(settings).store, job, into)]


@contextmanager
def _manifest(out: Path | None) -> Iterator[IO[bytes]]:
    """The manifest to write to: a file that gets its name when it is whole, or standard output."""
    if out is None:
        yield sys.stdout.buffer
        return
    with whole_file(out) as file:
        yield file


def _check_outputs(out: Path | None, report: Path | None, paths: Sequence[Path], *, force: bool) -> None:
    """Nothing that is read is written over, forced or not.

    Raises:
        SettingsError: a file to be written is an image, the other one, or there already.
    """
    for option, file in (("-o", out), ("--report", report)):
        if file is not None and (file.suffix.lower() in IMAGES or any(is_same_file(file, path) for path in paths)):
            raise SettingsError(f"{option} {file} is an image, or named like one", hint=f"name it {file.stem}.jsonl")
    if report is not None and report.suffix.lower() not in (".jsonl", ".ndjson"):
        raise SettingsError(f"--report {report}: name it .jsonl")
    if out is not None and report is not None and out.resolve() == report.resolve():
        raise SettingsError(f"-o and --report are one file: {out}")
    if out is not None and out.exists() and not force:
        raise SettingsError(f"{out} is there already", hint="name another file, or --force writes over it")


def _lines(file: IO[bytes]) -> Callable[[dict[str, Any]], None]:
    return lambda row: _write(file, row)


def _write(file: IO[bytes], row: dict[str, Any]) -> None:
    file.write(orjson.dumps(row) + b"\n")


@contextmanager
def _report(path: Path | None) -> Iterator[Callable[[Finding], None]]:
    if path is None:
        yield lambda finding: None
        return
    with whole_file(path) as file:
        yield lambda finding: _write(file, finding._asdict())


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    console = err()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,} images, {task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, rows=0)
        yield lambda files, rows: bar.update(task, completed=files, rows=rows)


def _tell(found: ImportReport, out: Path | None) -> None:
    """The summary, on standard error."""
    tools = ", ".join(f"{count:,} of {tool}" for tool, count in found.tools.items())
    say(f"{counted(found.files, 'image')} looked at{f': {tools}' if tools else ''}")
    for kind in _HEADINGS:
        _tell_findings(found, kind)
    if found.copies:
        say(f"{counted(found.copies, 'image')} seen again, taken once")
    if found.left_out:
        say("left out, as no field holds it:", style="yellow")
        for one in found.left_out[:SHOWN]:
            say(f"  {one.name} ({counted(one.images, 'image')}), such as {one.example!r}")
        if len(found.left_out) > SHOWN:
            say(f"  ... and {len(found.left_out) - SHOWN:,} more; --json names all")
    for name, count in list(found.unknown_models.items())[:SHOWN]:
        todo = f"--map-model {quote(name + '=ALIAS')}"
        say(f"model {name} ({counted(count, 'image')}) is not in the catalogue: {todo}", style="yellow")
    if found.counts.get("missing_input"):
        say("--inputs DIR, or --job JOB, finds input images; a row without its own cannot be rendered", style="yellow")
    if found.rows:
        rows = f"{counted(found.rows, 'row')}, {counted(found.images, 'image')}"
        say(f"{rows} in {out}" if out else rows)
        if out:
            say(f"next: promptmill validate {out}")


def _tell_findings(found: ImportReport, kind: FindingKind) -> None:
    count = found.counts.get(kind, 0)
    if not count:
        return
    noun, heading = _HEADINGS[kind]
    say(f"{counted(count, noun)} {heading}:", style="yellow")
    shown = [finding for finding in found.findings if finding.kind == kind][:SHOWN]
    for finding in shown:
        say(f"  {finding.file}" + ("" if kind == "no_metadata" else f": {finding.message}"))
    if count > len(shown):
        say(f"  ... and {count - len(shown):,} more; --report FILE has all")
