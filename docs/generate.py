"""Writes `docs/commands.md` from the commands, `docs/configuration.md` from the settings, the parts of
`docs/manifest.md` that come from the schemas (`manifest_blocks.py`), and the JSON Schemas in `docs/schema/`.

python docs/generate.py            write all
python docs/generate.py --check    say which is out of date, and end with 1 if one is
"""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
from manifest_blocks import with_made_blocks
from pydantic import SecretStr

from orchestrator.cli.main import EPILOG, cli
from orchestrator.manifests.json_schema import document_schema, rows_schema
from services.cli.options import SERVICES
from services.settings_names import SettingName, all_settings

FOLDER = Path(__file__).parent
NOTICE = "<!-- Made by `make docs` from the code. Do not edit. -->\n"

COMMANDS_HEAD = """
# Commands

`promptmill COMMAND --help` says the same in a terminal. Data goes to standard output, progress and messages to
standard error. With `--json` the data is one JSON document (`status --watch`: one a second), and an error is one
on standard error.

Options that name services and files are the same for every command; they stand once, [at the end](#services).
"""

CONFIGURATION_HEAD = """
# Configuration

Every setting has one name. `s3.bucket` is `PROMPTMILL_S3__BUCKET` in the environment (two underscores between
section and name), and `bucket` under `[s3]` in `promptmill.toml`. What counts, the first that gives a value:

1. a command's flag, where it has one ([commands](commands.md));
2. the environment, `PROMPTMILL_*`;
3. `promptmill.toml` in the folder where the command is given;
4. the names that other tools use: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, `AWS_REGION` or `AWS_DEFAULT_REGION`;
5. the services of a `promptmill run` that is at work in this folder, as a whole: where nothing above names a Redis,
   an S3 endpoint or a bucket;
6. the default.

Any option of a command can stand there as well, `--workers` of `promptmill run` as `PROMPTMILL_RUN_WORKERS=2`, or as
`workers = 2` under `[cli.run]` in `promptmill.toml`.

`promptmill doctor` tells which of these it found, and warns of `PROMPTMILL_*` names that are no settings.

```toml
# promptmill.toml
log_level = "WARNING"

[redis]
url = "redis://:password@redis.example:6379/0"

[s3]
endpoint_url = "https://objects.example"
bucket = "renders"

[worker]
safety = "blur"

[cli.run]
workers = 2
```

An unknown name in `promptmill.toml` is an error. All processes of one installation need the same services:
give the workers, the orchestrator and the clients the same `redis`, `s3` and `models_file`.
"""

CONFIGURATION_TAIL = """
## Names of other tools

| name | read by | for |
|---|---|---|
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_PROFILE` | boto3 | credentials, where `s3.access_key_id` is not given |
| `AWS_CA_BUNDLE` | boto3 | certificates of an endpoint of your own |
| `HF_HOME`, `HF_HUB_CACHE` | huggingface_hub | where models are kept |
| `HF_TOKEN` | huggingface_hub | gated and private models |
| `HF_HUB_OFFLINE`, `HF_ENDPOINT` | huggingface_hub | no network, or a mirror |
| `CUDA_VISIBLE_DEVICES` | torch | which GPUs `worker --gpus all` sees |
| `OMP_NUM_THREADS` | torch | threads of a worker on the CPU; `worker --count N` shares the cores unless it is set |
| `NO_COLOR`, `COLUMNS` | rich | colours and width of what is printed |
"""  # noqa: E501


def commands_page() -> str:
    """The page of all commands."""
    parts = [NOTICE, COMMANDS_HEAD, f"\n{_one_line(EPILOG)}\n"]
    services: dict[str, click.Option] = {}
    context = click.Context(cli, info_name="promptmill")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts += _command(command, click.Context(command, context, name), services)
    parts.append("\n## services\n\n")
    parts.append(_options(list(services.values())))
    return "".join(parts)


def _command(command: click.Command, context: click.Context, services: dict[str, click.Option]) -> Iterator[str]:
    yield f"\n## {context.command_path.removeprefix('promptmill ')}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"\n```\n{usage}\n```\n"
    yield _help(command.help or "")
    own, shared = [], False
    for parameter in command.get_params(context):
        if not isinstance(parameter, click.Option) or parameter.hidden or parameter.name == "help":
            continue
        if getattr(parameter, "panel", None) == SERVICES:
            services.setdefault(parameter.opts[0], parameter)
            shared = True
        else:
            own.append(parameter)
    if own:
        yield "\n" + _options(own)
    if shared:
        yield "\nAnd [services](#services).\n"
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _command(inner, click.Context(inner, context, name), services)


def _help(text: str) -> str:
    """Paragraphs; indented ones are examples."""
    made = ""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        is_example = paragraph.startswith("    ")
        made += f"\n```\n{inspect.cleandoc(paragraph)}\n```\n" if is_example else f"\n{paragraph}\n"
    return made


def _options(options: list[click.Option]) -> str:
    lines = ["| option | value | meaning |", "|---|---|---|"]
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted((*option.opts, *option.secondary_opts), key=len))
        default = f" (default: {option.default})" if option.show_default else ""
        lines.append(f"| {names} | {_value(option)} | {_cell(option.help or '')}{default} |")
    return "\n".join(lines) + "\n"


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    name = option.metavar or option.type.name.upper()
    if isinstance(option.type, click.IntRange) and option.type.max is not None:
        return f"{name} from {option.type.min} to {option.type.max}"
    return _cell(name)


def configuration_page() -> str:
    """The page of all settings."""
    parts = [NOTICE, CONFIGURATION_HEAD]
    section = None
    for setting in all_settings():
        if setting.section != section:
            section = setting.section
            parts.append(f"\n## {section or 'Without a section'}\n\n")
            parts.append("| setting | environment | value | default | meaning |\n|---|---|---|---|---|\n")
        parts.append(_setting(setting))
    return "".join([*parts, CONFIGURATION_TAIL])


def _setting(setting: SettingName) -> str:
    default = setting.default
    shown = (
        ""
        if default is None or default == ""
        else f"`{str(default).lower() if default is True or default is False else default}`"
    )
    kind = _kind(setting.field.annotation, setting.field.metadata)
    cells = (f"`{setting.dotted}`", f"`{setting.environment}`", kind, shown, _cell(setting.field.description or ""))
    return f"| {' | '.join(cells)} |\n"


def _kind(annotation: Any, metadata: list[Any]) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    kinds = [part for part in (get_args(annotation) or (annotation,)) if part is not NoneType]
    name = {int: "whole number", float: "number", bool: "`true`, `false`", Path: "path", SecretStr: "text, secret"}
    return name.get(kinds[0], "text") + _limits(metadata)


def _limits(metadata: list[Any]) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [
        f"{word} {value:g}"
        for one in metadata
        for key, word in words.items()
        if (value := getattr(one, key, None)) is not None
    ]
    return f", {' and '.join(found)}" if found else ""


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _json(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    manifest = FOLDER / "manifest.md"
    pages = {
        FOLDER / "commands.md": commands_page(),
        FOLDER / "configuration.md": configuration_page(),
        manifest: with_made_blocks(manifest.read_text(encoding="utf-8")),
        FOLDER / "schema" / "rows.json": _json(rows_schema()),
        FOLDER / "schema" / "document.json": _json(document_schema()),
    }
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if sys.argv[1:] == ["--check"]:
        for path in stale:
            sys.stderr.write(f"docs/{path.relative_to(FOLDER)} is out of date: run `make docs`\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(pages[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
