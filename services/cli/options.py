"""Options that several commands share.

Every option of every command can be given by flag, by environment (`PROMPTMILL_RUN_WORKERS=2`) or in
`promptmill.toml` (`workers = 2` under `[cli.run]`).
"""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from services.settings import Settings, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])
# Options whose values collect under another name.
_COLLECTED = {"set": "sets", "map": "maps", "extra": "extras", "format": "file_format", "class": "classes"}
# Panels of `--help`.
SERVICES = "Services and settings"
MANIFEST = "Manifest"
COST = "Cost"


def option_defaults(path: Path = Path("promptmill.toml")) -> dict[str, dict[str, Any]]:
    """The `[cli.COMMAND]` tables of `promptmill.toml`, as click's `default_map`.

    A file that cannot be read is left for the settings to tell, which read it as well.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("cli", {})
        return {
            command: {_COLLECTED.get(name, name).replace("-", "_"): value for name, value in table.items()}
            for command, table in tables.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}


def service_options(command: Command) -> Command:
    """`--redis-url`, `--s3-endpoint-url`, `--s3-bucket`, `--s3-prefix`, `--data-dir`, `--models-file`."""
    option = partial(click.option, panel=SERVICES)
    return _with(
        command,
        option("--redis-url", metavar="URL", help="Redis [PROMPTMILL_REDIS__URL: keep passwords there]"),
        option("--s3-endpoint-url", metavar="URL", help="S3 endpoint [PROMPTMILL_S3__ENDPOINT_URL]"),
        option("--s3-bucket", metavar="NAME", help="bucket [PROMPTMILL_S3__BUCKET]"),
        option("--s3-prefix", metavar="PREFIX", help="key prefix in it [PROMPTMILL_S3__PREFIX]"),
        local_options,
    )


def local_options(command: Command) -> Command:
    """`--data-dir` and `--models-file`. A command's own options come first in its help."""
    option = partial(click.option, panel=SERVICES, type=click.Path(path_type=Path))
    return _with(
        click.option_panel("Options")(command),
        option("--data-dir", metavar="DIR", help="local services' data [PROMPTMILL_DATA_DIR]"),
        option("--models-file", metavar="FILE", help="your own models.toml [PROMPTMILL_MODELS_FILE]"),
    )


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    """The command with these options, in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def take_settings(options: dict[str, Any], **sections: dict[str, Any]) -> Settings:
    """Take the options of `service_options` out of a command's arguments and read the settings with them."""
    s3 = {name: options.pop(f"s3_{name}", None) for name in ("endpoint_url", "bucket", "prefix")}
    redis = {"url": options.pop("redis_url", None)}
    rest = {name: options.pop(name, None) for name in ("data_dir", "models_file")}
    return load_settings(s3=s3, redis=redis, **rest, **sections)


def json_option(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="print JSON on standard output")(command)


def manifest_options(command: Command) -> Command:
    """How a manifest is read and checked: `--set`, `--map`, `--extra`, `--format`, `--strict`, `--report`."""
    option = partial(click.option, panel=MANIFEST)
    several = partial(option, multiple=True)
    formats = click.Choice(["jsonl", "csv", "tsv", "parquet", "text", "yaml", "json", "a1111"])
    format_help = "jsonl, csv, tsv, parquet, text, yaml, json or a1111; default: by the file's name"
    report_help = "write every fault and warning there, .jsonl or .csv"
    extra_help = "keep a column although its name is near a field's; repeatable"
    return _with(
        command,
        several("--set", "sets", metavar="FIELD=VALUE", help="a field's value in rows that give none; repeatable"),
        several("--map", "maps", metavar="FIELD=COLUMN", help="the column that a field is in; repeatable"),
        several("--extra", "extras", metavar="COLUMN", help=extra_help),
        option("--format", "file_format", type=formats, metavar="FORMAT", help=format_help),
        option("--strict", is_flag=True, help="warnings are faults"),
        option("--report", type=click.Path(path_type=Path), metavar="FILE", help=report_help),
    )


def cut_options(command: Command) -> Command:
    """How a job is cut into tasks: `--task-rows`, `--task-units`."""
    option = partial(click.option, panel=MANIFEST)
    units = click.FloatRange(min=0, min_open=True)
    units_help = "most cost of a task; 1 unit: 512x512 pixels, 50 steps"
    return _with(
        command,
        option("--task-rows", type=click.IntRange(1, 10_000), metavar="N", help="most rows of a task, up to 10,000"),
        option("--task-units", type=units, metavar="UNITS", help=units_help),
    )


def cost_options(command: Command) -> Command:
    """What a job may cost (`--max-units`), and what is known of the machines."""
    option = partial(click.option, panel=COST)
    positive = click.FloatRange(min=0, min_open=True)
    limit_help = "refuse a job that would cost more, and pause one that does"
    speed_help = "of one device; default: as measured in earlier jobs"
    return _with(
        command,
        option("--max-units", type=positive, metavar="UNITS", help=limit_help),
        option("--units-per-second", type=positive, metavar="UNITS", help=speed_help),
        option("--price-per-hour", type=click.FloatRange(min=0), metavar="PRICE", help="of one device, any currency"),
    )


def submit_options(command: Command) -> Command:
    """What `submit` and `run` take beside the manifest."""
    weight = partial(click.option, type=click.IntRange(1, 10_000), metavar="WEIGHT", default=100, show_default=True)
    return _with(
        command,
        click.option("--job-id", metavar="ID", help="id of the job; default: by file name and time"),
        weight("--priority", help="twice the weight, twice the share of the workers"),
        click.option("--keep-going", is_flag=True, help="many errors in a row do not pause the job"),
        click.option("--dry-run", is_flag=True, help="check and estimate as `validate` does; nothing is sent"),
        cost_options,
        cut_options,
    )
