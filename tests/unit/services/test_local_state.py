"""Running services are found by other commands while their owner lives, and never by another user."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.local_state import FILE_NAME, publish_services, running_services, withdraw_services

SETTINGS = {"redis": {"url": "redis://:secret@127.0.0.1:1/0"}}


def test_they_are_found_until_they_are_withdrawn(tmp_path: Path) -> None:
    publish_services(tmp_path / "new folder", SETTINGS)
    assert running_services(tmp_path / "new folder") == SETTINGS
    withdraw_services(tmp_path / "new folder")
    assert running_services(tmp_path / "new folder") == {}
    withdraw_services(tmp_path / "new folder")


def test_only_their_owner_can_read_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).with_suffix(".tmp").write_text("left behind")
    previous = os.umask(0)
    try:
        publish_services(tmp_path, SETTINGS)
    finally:
        os.umask(previous)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [FILE_NAME]


def test_those_of_a_dead_process_do_not_count(tmp_path: Path) -> None:
    code = f"from services.local_state import *; publish_services(Path({str(tmp_path)!r}), {SETTINGS!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / FILE_NAME).exists()
    assert running_services(tmp_path) == {}


def test_another_process_with_the_same_number_is_not_their_owner(tmp_path: Path) -> None:
    publish_services(tmp_path, SETTINGS)
    document = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps(document | {"started": document["started"] - 100}))
    assert running_services(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x", "started": 1, "settings": {}}', "\xff"])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    assert running_services(tmp_path) == {}


def test_a_folder_that_does_not_exist_has_none(tmp_path: Path) -> None:
    assert running_services(tmp_path / "nothing") == {}
