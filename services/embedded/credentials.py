"""The random credentials of the embedded services, kept with their data."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from schemas.errors import LocalDiskError

FILE_NAME = "credentials.json"


@dataclass(frozen=True)
class LocalCredentials:
    """What the services on 127.0.0.1 ask for: other users of the machine can reach their ports."""

    redis_password: str = field(repr=False)
    s3_access_key_id: str
    s3_secret_access_key: str = field(repr=False)


def load_or_create(data_dir: Path) -> LocalCredentials:
    """Read the credentials of a data folder, or make and keep new ones, readable by their owner alone.

    Raises:
        LocalDiskError: the file cannot be read or written, or holds something else.
    """
    path = data_dir / FILE_NAME
    try:
        return LocalCredentials(**json.loads(path.read_text()))
    except FileNotFoundError:
        return _create(path)
    except (OSError, ValueError, TypeError) as error:
        raise LocalDiskError(
            f"{path} cannot be read: {error}", hint="delete it: new credentials are made at the next start"
        ) from None


def _create(path: Path) -> LocalCredentials:
    made = LocalCredentials(secrets.token_urlsafe(32), secrets.token_hex(10), secrets.token_urlsafe(32))
    temporary = path.with_suffix(".tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(made), file)
        temporary.replace(path)
    except OSError as error:
        raise LocalDiskError(f"{path} cannot be written: {error}") from error
    return made
