"""`promptmill models list | check | pull`. Nothing here needs torch before it is used: `list` works in a bare install."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from schemas.catalogue import ModelEntry
from schemas.errors import ModelUnavailable, PromptmillError, SettingsError
from services.catalogue import Catalogue
from services.settings import Settings, load_settings

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
_models_file = click.option(
    "--models-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A models.toml of your own that extends the shipped one.",
)


@click.group()
def models() -> None:
    """The models that a manifest can name."""


@models.command("list")
@_models_file
@_as_json
def list_models(models_file: Path | None, as_json: bool) -> None:
    """Every alias, what it can do, and its defaults."""
    catalogue = Catalogue.load(load_settings(models_file=models_file).models_file)
    if as_json:
        click.echo(json.dumps([{"alias": alias, **entry.model_dump(mode="json")} for alias, entry in catalogue]))
        return
    heads = ("ALIAS", "PIPELINES", "SIZE", "STEPS", "GUIDANCE", "SOURCE", "ALSO")
    _table([heads, *(_line(alias, entry) for alias, entry in catalogue)])


@models.command("check")
@click.argument("aliases", nargs=-1, metavar="[ALIAS]...")
@click.option("--render", is_flag=True, help="Load each model and render one step with each of its pipelines.")
@_models_file
@_as_json
def check(aliases: Sequence[str], render: bool, models_file: Path | None, as_json: bool) -> None:
    """Whether models are complete on this machine, without asking the hub. Without ALIAS: all of them.

    Ends with status 1 if a model that was named is not ready.
    """
    from workers.models.inspection import inspect_model

    settings = load_settings(models_file=models_file)
    catalogue = Catalogue.load(settings.models_file)
    reports: list[dict[str, Any]] = []
    for alias, entry in _chosen(catalogue, aliases):
        report = inspect_model(alias, entry).model_dump(mode="json")
        if render and report["ready"]:
            report |= _rendered(settings, alias, entry)
        reports.append(report)
        if not as_json:
            _tell(report)
    if as_json:
        click.echo(json.dumps(reports))
    if aliases and not all(report["ready"] for report in reports):
        raise SystemExit(1)


@models.command("pull")
@click.argument("aliases", nargs=-1, required=True, metavar="ALIAS...")
@_models_file
@_as_json
def pull(aliases: Sequence[str], models_file: Path | None, as_json: bool) -> None:
    """Bring models to this machine: download from the hub, or make the built-in ones.

    Downloads go on where they stopped. HF_TOKEN opens gated and private repositories, HF_HOME says where to.
    Ends with status 1 if a model could not be had; the others are pulled all the same.
    """
    from workers.models.sources import fetch

    settings = load_settings(models_file=models_file)
    done: list[dict[str, Any]] = []
    for alias, entry in _chosen(Catalogue.load(settings.models_file), aliases):
        click.echo(f"{alias}: {entry.source}", err=True)
        try:
            folders = fetch(alias, entry, settings.data_dir / "models")
        except ModelUnavailable as error:
            done.append({"alias": alias, "ready": False, "error": error.message, "hint": error.hint})
            _complain(error)
            continue
        paths = {source: str(folder.path) for source, folder in folders.items()}
        done.append({"alias": alias, "ready": True, "paths": paths})
        if not as_json:
            click.echo("\n".join(f"{alias}\t{path}" for path in paths.values()))
    if as_json:
        click.echo(json.dumps(done))
    if not all(report["ready"] for report in done):
        raise SystemExit(1)


def _chosen(catalogue: Catalogue, aliases: Sequence[str]) -> list[tuple[str, ModelEntry]]:
    return list(catalogue) if not aliases else [catalogue.resolve(alias) for alias in dict.fromkeys(aliases)]


def _rendered(settings: Settings, alias: str, entry: ModelEntry) -> dict[str, Any]:
    """One step with each pipeline of a model, on the device that a worker would use: seconds, or what is wrong."""
    from workers.engines.room import open_room
    from workers.engines.trial import trial_slot

    seconds: dict[str, float] = {}
    try:
        room = open_room(settings)
        for pipeline in entry.pipelines:
            started = time.monotonic()
            room.render([trial_slot(alias, entry, pipeline)], lambda: None)
            seconds[pipeline] = round(time.monotonic() - started, 2)
    except SettingsError:
        raise
    except PromptmillError as error:
        return {"ready": False, "rendered_seconds": seconds, "error": error.message, "hint": error.hint}
    return {"rendered_seconds": seconds}


def _tell(report: dict[str, Any]) -> None:
    click.echo(f"{'ready  ' if report['ready'] else 'missing'}  {report['alias']}")
    for source in report["sources"]:
        size = f", {source['bytes'] / 1e9:.2f} GB" if source["bytes"] else ""
        detail = f": {source['detail']}" if source["detail"] else ""
        click.echo(f"           {source['state']}  {source['source']}{size}{detail}")
    for pipeline, seconds in report.get("rendered_seconds", {}).items():
        click.echo(f"           rendered one step of {pipeline} in {seconds} s")
    if report.get("error"):
        click.echo(f"           {report['error']}")
    if report["hint"]:
        click.echo(f"           {report['hint']}", err=True)


def _complain(error: PromptmillError) -> None:
    click.echo(f"  {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def _line(alias: str, entry: ModelEntry) -> tuple[str, ...]:
    size = "input x 4" if entry.pipelines == ("upscale",) else f"{entry.width}x{entry.height}"
    return (
        alias,
        " ".join(entry.pipelines),
        size,
        str(entry.steps),
        f"{entry.guidance_scale:g}",
        entry.source,
        " ".join(entry.aliases),
    )


def _table(lines: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
