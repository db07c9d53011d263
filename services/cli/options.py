"""Options that several commands share. Each can be given by flag, by environment or in `promptmill.toml`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from services.settings import Settings, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])


def service_options(command: Command) -> Command:
    """`--redis-url`, `--s3-endpoint-url`, `--s3-bucket`, `--s3-prefix`, `--data-dir`, `--models-file`."""
    for option in reversed(
        [
            click.option("--redis-url", metavar="URL", help="Redis [PROMPTMILL_REDIS__URL]. Passwords: set it there."),
            click.option("--s3-endpoint-url", metavar="URL", help="S3 endpoint [PROMPTMILL_S3__ENDPOINT_URL]"),
            click.option("--s3-bucket", metavar="NAME", help="bucket [PROMPTMILL_S3__BUCKET]"),
            click.option("--s3-prefix", metavar="PREFIX", help="key prefix in the bucket [PROMPTMILL_S3__PREFIX]"),
            click.option("--data-dir", type=click.Path(path_type=Path), help="local data [PROMPTMILL_DATA_DIR]"),
            click.option(
                "--models-file", type=click.Path(path_type=Path), help="your own models.toml [PROMPTMILL_MODELS_FILE]"
            ),
        ]
    ):
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
    """How a manifest is read: `--format`, `--map`, `--set`, `--extra`."""
    for option in reversed(
        [
            click.option(
                "--format",
                "file_format",
                type=click.Choice(["jsonl", "csv", "tsv", "parquet", "text"]),
                help="format of the manifest; default: by its name",
            ),
            click.option("--map", "maps", multiple=True, metavar="FIELD=COLUMN", help="a field's column, repeatable"),
            click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="default for all, repeatable"),
            click.option("--extra", "extras", multiple=True, metavar="COLUMN", help="keep a column named like a field"),
        ]
    ):
        command = option(command)
    return command


def submit_options(command: Command) -> Command:
    """What `submit` and `run` take beside the manifest."""
    for option in reversed(
        [
            click.option("--job-id", metavar="ID", help="id of the job; default: made from name and time"),
            click.option("--priority", type=click.IntRange(1, 10_000), default=100, show_default=True, help="weight"),
            click.option("--keep-going", is_flag=True, help="errors in a row do not pause the job"),
            click.option(
                "--task-units", type=click.FloatRange(min=0, min_open=True), help="cost at which a task is cut"
            ),
            click.option("--task-rows", type=click.IntRange(1, 10_000), help="rows at which a task is cut"),
        ]
    ):
        command = option(command)
    return command
