"""`promptmill models list | check | pull`. Torch is imported where it is used: `list` works in a bare install."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from schemas.catalogue import AdapterEntry, ModelEntry
from schemas.errors import ModelUnavailable, PromptmillError, SettingsError
from services.catalogue import Catalogue
from services.cli.options import json_option, take_settings
from services.cli.output import print_json, print_table, report_error, say
from services.settings import Settings
from workers.cli.chosen_models import all_adapters, chosen, sources_of
from workers.models.adapter_files import AdapterKind

Command = TypeVar("Command", bound=Callable[..., Any])


def _place_options(command: Command) -> Command:
    """`--data-dir`, `--models-file`: the settings that models depend on."""
    path = click.Path(path_type=Path)
    command = click.option("--models-file", type=path, help="your own models.toml [PROMPTMILL_MODELS_FILE]")(command)
    return click.option("--data-dir", type=path, help="local data [PROMPTMILL_DATA_DIR]")(command)


@click.group()
def models() -> None:
    """The models that a manifest can name."""


@models.command("list")
@json_option
@_place_options
def list_models(as_json: bool, **options: Any) -> None:
    """Every alias, what it can do, and its defaults; then the LoRAs and embeddings, and which models they fit."""
    catalogue = Catalogue.load(take_settings(options).models_file)
    if as_json:
        found = [{"alias": alias, "kind": "model", **entry.model_dump(mode="json")} for alias, entry in catalogue]
        print_json(found + [_described(kind, name, entry) for kind, name, entry in all_adapters(catalogue)])
        return
    heads = ["model", "pipelines", "size", "steps", "guidance", "source", "also"]
    print_table(heads, [_line(alias, entry) for alias, entry in catalogue], numbers=frozenset({"steps", "guidance"}))
    adapters = [_adapter_line(kind, name, entry) for kind, name, entry in all_adapters(catalogue)]
    if adapters:
        click.echo()
        print_table(["name", "kind", "family", "source", "trigger", "also"], adapters)


@models.command("check")
@click.argument("aliases", nargs=-1, metavar="[MODEL]...")
@click.option("--render", is_flag=True, help="load each and render one step with each of its pipelines")
@json_option
@_place_options
def check(aliases: Sequence[str], render: bool, as_json: bool, **options: Any) -> None:
    """Whether models, LoRAs and embeddings are complete on this machine, without asking the hub. Without MODEL: all.

    Exit status 1 if a model that was named is not ready.
    """
    from workers.models.inspection import inspect_adapter, inspect_model

    settings = take_settings(options)
    reports: list[dict[str, Any]] = []
    models, adapters = chosen(Catalogue.load(settings.models_file), aliases)
    for kind, name, adapter in adapters:
        reports.append(inspect_adapter(kind, name, adapter).model_dump(mode="json"))
        if not as_json:
            _tell(reports[-1])
    for alias, entry in models:
        report = inspect_model(alias, entry).model_dump(mode="json")
        if render and report["ready"]:
            report |= _rendered(settings, alias, entry)
        reports.append(report)
        if not as_json:
            _tell(report)
    if as_json:
        print_json(reports)
    if aliases and not all(report["ready"] for report in reports):
        raise SystemExit(1)


@models.command("pull")
@click.argument("aliases", nargs=-1, required=True, metavar="MODEL...")
@json_option
@_place_options
def pull(aliases: Sequence[str], as_json: bool, **options: Any) -> None:
    """Bring models, LoRAs and embeddings to this machine: download from the hub, or make the built-in ones.

    Only safetensors and configuration come down, and what is there already does not come again. HF_TOKEN opens
    gated and private repositories, HF_HOME says where they go. Exit status 1 if one could not be had; the others
    are pulled all the same.
    """
    from workers.models.adapter_files import fetch_adapter
    from workers.models.sources import fetch

    settings = take_settings(options)
    cache = settings.data_dir / "models"
    models, adapters = chosen(Catalogue.load(settings.models_file), aliases)

    def of_model(alias: str, entry: ModelEntry) -> dict[str, str]:
        return {source: str(folder.path) for source, folder in fetch(alias, entry, cache).items()}

    def of_adapter(kind: AdapterKind, name: str, entry: AdapterEntry) -> dict[str, str]:
        return {entry.source: str(fetch_adapter(kind, name, entry, cache).path)}

    wanted: list[tuple[str, str, Callable[[], dict[str, str]]]] = [
        *((alias, ", ".join(sources_of(entry)), partial(of_model, alias, entry)) for alias, entry in models),
        *((name, entry.source, partial(of_adapter, kind, name, entry)) for kind, name, entry in adapters),
    ]
    done: list[dict[str, Any]] = []
    for alias, sources, get in wanted:
        say(f"{alias}: {sources}")
        try:
            paths = get()
        except ModelUnavailable as error:
            done.append({"alias": alias, "ready": False, "error": error.message, "hint": error.hint})
            report_error(error, as_json=as_json)
            continue
        done.append({"alias": alias, "ready": True, "paths": paths})
        if not as_json:
            click.echo("\n".join(f"{alias}\t{path}" for path in paths.values()))
    if as_json:
        print_json(done)
    if not all(report["ready"] for report in done):
        raise SystemExit(1)


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
        if source["moves"]:
            click.echo(f"           {source['moves']}")
    for pipeline, seconds in report.get("rendered_seconds", {}).items():
        click.echo(f"           rendered one step of {pipeline} in {seconds} s")
    if report.get("error"):
        click.echo(f"           {report['error']}")
    if report["hint"]:
        click.echo(f"           to do: {report['hint']}")


def _line(alias: str, entry: ModelEntry) -> list[str]:
    size = "input x 4" if entry.pipelines == ("upscale",) else f"{entry.width}x{entry.height}"
    return [
        alias,
        " ".join(entry.pipelines),
        size,
        str(entry.steps),
        f"{entry.guidance_scale:g}",
        entry.source,
        " ".join(entry.aliases),
    ]


def _adapter_line(kind: AdapterKind, name: str, entry: AdapterEntry) -> list[str]:
    source = f"{entry.source} {entry.file}" if entry.file else entry.source
    return [name, kind, entry.family, source, entry.trigger, " ".join(entry.aliases)]


def _described(kind: AdapterKind, name: str, entry: AdapterEntry) -> dict[str, Any]:
    return {"alias": name, "kind": kind, **entry.model_dump(mode="json")}
