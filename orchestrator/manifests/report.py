"""`--report FILE`: every fault and warning of a manifest, one a line, written while the manifest is read."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.local_disk import disk_error, is_same_file, whole_file
from orchestrator.manifests.faults import FaultSink, Level
from schemas.errors import Fault, SettingsError

COLUMNS = ("level", "line", "field", "value", "message", "kind")
SUFFIXES = frozenset({".jsonl", ".ndjson", ".csv"})
_STDIN = Path("/dev/stdin")  # whatever file it is redirected from
Cells = tuple[str | int | None, ...]


@contextmanager
def open_report(path: Path | None, read: Iterable[Path] = ()) -> Iterator[FaultSink | None]:
    """A sink that writes to `path`: CSV or JSON Lines by its suffix; None where there is no path.

    The file gets its name when the block ends well: an earlier report stays until the new one is whole.

    Args:
        read: files that are read while it is written.

    Raises:
        SettingsError: another suffix, or `path` is one of the files that are read.
        LocalDiskError: the disk is full or not writable.
    """
    if path is None:
        yield None
        return
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(f"--report {path}: name it .jsonl or .csv")
    for other in (*read, _STDIN):
        refuse_same(path, other)
    with whole_file(path, text=True) as file:
        yield _Report(path, _csv_writer(file) if suffix == ".csv" else _json_writer(file))


def refuse_same(report: Path, read: Path) -> None:
    """Refuse to write a report over a file that is read.

    Raises:
        SettingsError: they are one file.
    """
    if is_same_file(report, read):
        raise SettingsError(
            f"--report {report} is a file that is read here: {read}", hint="name another one for the report"
        )


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
