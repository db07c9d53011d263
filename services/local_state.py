"""What a running `promptmill run` leaves in its data folder, so that other commands find its services.

The file holds credentials of the embedded services: it is readable by its owner alone, and it counts only
while the process that wrote it lives.
"""

import json
import os
from pathlib import Path
from typing import Any

import psutil

FILE_NAME = "services.json"


def publish_services(data_dir: Path, settings: dict[str, Any]) -> None:
    """Write the settings (nested as in `promptmill.toml`) that lead to this process's services."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE_NAME
    owner = psutil.Process()
    document = {"pid": owner.pid, "started": owner.create_time(), "settings": settings}
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # also where a file was left behind
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
    temporary.replace(path)


def withdraw_services(data_dir: Path) -> None:
    """Forget them; called when the services end."""
    (data_dir / FILE_NAME).unlink(missing_ok=True)


def running_services(data_dir: Path) -> dict[str, Any]:
    """The settings that lead to the services of a living `promptmill run`, or an empty dictionary."""
    try:
        document = json.loads((data_dir / FILE_NAME).read_text())
        alive = psutil.Process(document["pid"]).create_time() == document["started"]
        return dict(document["settings"]) if alive else {}
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return {}
