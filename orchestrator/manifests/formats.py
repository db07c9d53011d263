"""Which format a manifest has: said, by its name, or, where the name says nothing, by its first line."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from orchestrator.manifests.names import COLUMN_FIELDS, near_field
from orchestrator.manifests.options import FORMATS, Format, ManifestOptions
from orchestrator.manifests.source import head
from schemas.errors import Fault, LocalDiskError, ManifestError

_BY_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
}
_REMEDIES = {
    ".json": "name it .jsonl if each line is one object, or --format jsonl",
    ".xlsx": "save the sheet as CSV",
    ".xls": "save the sheet as CSV",
    ".ods": "save the sheet as CSV",
}


def detect_format(path: Path, options: ManifestOptions) -> Format:
    """The format of a manifest. A name without a suffix (spooled standard input) leaves it to the first line.

    Raises:
        ManifestError: no such file, or the format cannot be told.
    """
    if options.format is not None:
        return options.format
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in _BY_SUFFIX:
        return _BY_SUFFIX[suffixes[-1]]
    start = head(path)
    if not suffixes:
        return _sniff(start, options)
    remedy = _REMEDIES.get(suffixes[-1], f"--format says it: one of {', '.join(FORMATS)}")
    message = f"the format cannot be told from the name: {remedy}"
    raise ManifestError([Fault(line=None, field=None, value=path.name, message=message)])


def spool(stream: BinaryIO, directory: Path, name: str = "stdin") -> Path:
    """Copy standard input (or another stream that can be read once) into `directory`, and return the file.

    A manifest is read more than once. The name has no suffix, so the format is told from `--format` or the content.

    Raises:
        LocalDiskError: the disk is full or not writable.
    """
    path = directory / name
    try:
        with path.open("xb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
    except OSError as error:
        raise LocalDiskError(
            f"cannot write standard input to {directory}: {error.strerror}", hint="free space, or set TMPDIR"
        ) from error
    return path


def _sniff(start: bytes, options: ManifestOptions) -> Format:
    if start.startswith(b"PAR1"):
        return "parquet"
    first = next((line.strip() for line in start.splitlines() if line.strip()), b"")
    if first.startswith(b"{"):
        return "jsonl"
    text = first.decode("utf-8", "replace")
    if _names_a_field(text.split("\t"), options) and "\t" in text:
        return "tsv"
    return "csv" if _names_a_field(text.replace(";", ",").split(","), options) else "text"


def _names_a_field(cells: Iterable[str], options: ManifestOptions) -> bool:
    """A header has a column of ours, a mapped one or one that another tool would call so; a prompt has not."""
    columns = {cell.strip().strip('"') for cell in cells}
    if columns & (COLUMN_FIELDS | set(options.column_map.values())):
        return True
    return any(len(column) <= 40 and near_field(column) is not None for column in columns)
