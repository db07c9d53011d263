"""`--report FILE`: every fault and warning of a manifest, one a line, written while the manifest is read."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.local_disk import disk_error, local_disk
from orchestrator.manifests.faults import FaultSink, Level
from schemas.errors import Fault, SettingsError

COLUMNS = ("level", "line", "field", "value", "message", "kind")
Cells = tuple[str | int | None, ...]


@contextmanager
def open_report(path: Path | None) -> Iterator[FaultSink | None]:
    """A sink that writes to `path`: CSV or JSON Lines by its suffix; None where there is no path.

    Raises:
        SettingsError: another suffix.
        LocalDiskError: the disk is full or not writable.
    """
    if path is None:
        yield None
        return
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".ndjson", ".csv"):
        raise SettingsError(f"--report {path}: name it .jsonl or .csv")
    with local_disk(path):
        file = path.open("w", encoding="utf-8", newline="")
    try:
        yield _Report(path, _csv_writer(file) if suffix == ".csv" else _json_writer(file))
    finally:
        with local_disk(path):
            file.close()


class _Report:
    def __init__(self, path: Path, write: Callable[[Cells], object]) -> None:
        self._path = path
        self._write = write

    def write(self, level: Level, fault: Fault, kind: str) -> None:
        try:
            self._write((level, fault.line, fault.field, fault.value, fault.message, kind))
        except OSError as error:
            raise disk_error(error, self._path) from error


def _csv_writer(file: IO[str]) -> Callable[[Cells], object]:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    return writer.writerow


def _json_writer(file: IO[str]) -> Callable[[Cells], object]:
    return lambda cells: file.write(json.dumps(dict(zip(COLUMNS, cells, strict=True)), ensure_ascii=False) + "\n")
