"""The services of a single machine: Redis and an S3 endpoint over one data folder."""

from pathlib import Path
from typing import Any

from schemas.errors import LocalDiskError
from services.embedded.credentials import load_or_create
from services.embedded.processes import GuardedProcesses
from services.embedded.redis import redis_answers, redis_process, redis_server
from services.embedded.s3 import rclone, s3_answers, s3_process, s3_settings
from services.embedded.startup import start_on_free_port
from services.local_state import publish_services

LOCK_NAME = "lock"


def start_local_services(
    data_dir: Path, processes: GuardedProcesses, *, bucket: str = "promptmill"
) -> dict[str, dict[str, Any]]:
    """Start Redis and the S3 endpoint over a data folder, old data or new, and wait until both answer.

    They are published in `services.local_state` for other commands in this folder, and end with `processes`.

    Returns:
        The settings that lead to them, nested as `load_settings(**overrides)` takes them.

    Raises:
        SettingsError: the `local` extra is not installed, or another process runs services on this folder.
        LocalDiskError: the folder cannot be written.
        ServiceError: a service did not start; the message holds the end of its log.
    """
    redis_server(), rclone()  # before anything is written
    data_dir = data_dir.absolute()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalDiskError(f"the data folder cannot be made: {error}", hint="set PROMPTMILL_DATA_DIR") from error
    processes.lock(data_dir / LOCK_NAME, f"the data folder {data_dir}")
    overrides = _start(data_dir, processes, bucket)
    publish_services(data_dir, overrides)
    return overrides


def _start(data_dir: Path, processes: GuardedProcesses, bucket: str) -> dict[str, dict[str, Any]]:
    known = load_or_create(data_dir)
    password, keys = known.redis_password, (known.s3_access_key_id, known.s3_secret_access_key)
    redis_port = start_on_free_port(
        processes,
        lambda port: redis_process(data_dir, port, password),
        lambda port: redis_answers(port, password),
    )
    s3_port = start_on_free_port(
        processes,
        lambda port: s3_process(data_dir, port, *keys, bucket),
        lambda port: s3_answers(port, s3_settings(port, *keys, bucket)),
    )
    store = s3_settings(s3_port, *keys, bucket)
    return {
        "redis": {"url": f"redis://:{password}@127.0.0.1:{redis_port}/0"},
        "s3": {
            "endpoint_url": store.endpoint_url,
            "access_key_id": store.access_key_id,
            "secret_access_key": known.s3_secret_access_key,
            "bucket": store.bucket,
            "region": store.region,
        },
    }
