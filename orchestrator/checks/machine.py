"""This machine: where the settings come from, the embedded services, the catalogue and the disk."""

import os
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from schemas.errors import SettingsError
from services.catalogue import Catalogue
from services.cli.findings import Finding, ok, warning
from services.embedded.redis import redis_server
from services.embedded.s3 import rclone
from services.local_state import running_services
from services.settings import Settings
from services.settings_names import PREFIX, unknown_names
from services.version import promptmill_version

SCARCE_BYTES = 2 * 10**9
TOML = Path("promptmill.toml")
AWS_NAMES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def check_settings(settings: Settings, options: Collection[str] = ()) -> Iterator[Finding]:
    """The version, and which sources the settings come from. `options`: environment names of commands' options."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("promptmill", f"{promptmill_version()} on Python {python}")
    names = sorted(name for name in os.environ if name.upper().startswith(PREFIX))
    sources = [f"{len(names)} PROMPTMILL_* name{'s' * (len(names) != 1)} in the environment"] if names else []
    sources += [str(TOML)] if TOML.exists() else []
    sources += [name for name in AWS_NAMES if os.environ.get(name)]
    running = running_services(settings.data_dir).get("redis", {}).get("url")
    if running == settings.redis.url.get_secret_value():
        sources.append("the services of a running `promptmill run`")
    yield ok("settings", f"from {', '.join(sources)}" if sources else "the defaults: nothing is set")
    for name, near in unknown_names(os.environ, options).items():
        todo = f"did you mean {near}?" if near else "docs/configuration.md names all"
        yield warning("settings", f"{name} is no setting and is not read", todo)


def check_catalogue(settings: Settings) -> Iterator[Finding]:
    """Whether the catalogue and its extension can be read."""
    own = f", with {settings.models_file}" if settings.models_file else ""
    try:
        catalogue = Catalogue.load(settings.models_file)
    except SettingsError as error:
        yield warning("catalogue", error.message, error.hint)
    else:
        yield ok("catalogue", f"{len(catalogue.entries)} models{own}")


def check_local_services(settings: Settings) -> Iterator[Finding]:
    """Whether `promptmill run` can bring its own Redis and object store."""
    try:
        redis_server(), rclone()
    except SettingsError as error:
        yield warning("local services", f"{error.message}: `promptmill run` cannot start", error.hint)
    else:
        yield ok("local services", "redis-server and rclone are here: `promptmill run` can start them")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Free space where embedded services keep their data."""
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    told = f"{free / 1e9:,.1f} GB free for {settings.data_dir}"
    if not os.access(folder, os.W_OK):
        yield warning("disk", f"{folder} cannot be written to", "set PROMPTMILL_DATA_DIR to a folder of yours")
    elif free < SCARCE_BYTES:
        yield warning("disk", told, "free space, or set PROMPTMILL_DATA_DIR to another disk")
    else:
        yield ok("disk", told)
