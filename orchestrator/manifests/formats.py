"""Which format a manifest has: said, by its name, or, where the name says nothing, by its first line."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from orchestrator.manifests.delimited import is_a1111_line
from orchestrator.manifests.names import COLUMN_FIELDS, field_called, near_field
from orchestrator.manifests.options import FORMATS, Format, ManifestOptions
from orchestrator.manifests.source import head
from schemas.document import Document
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
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
}
_REMEDIES = {
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
    lines = [line.strip() for line in start.splitlines() if line.strip()]
    first = lines[0] if lines else b""
    if first.startswith(b"["):
        return "json"
    if first.startswith(b"{"):
        # One object a line, unless the first one goes on below.
        return "jsonl" if first.endswith(b"}") or len(lines) == 1 else "json"
    if first.startswith(b"--") and is_a1111_line(first.decode("utf-8", "replace")):
        return "a1111"
    if _begins_a_document(lines):
        return "yaml"
    text = first.decode("utf-8", "replace")
    if _names_a_field(text.split("\t"), options) and "\t" in text:
        return "tsv"
    return "csv" if _names_a_field(text.replace(";", ",").split(","), options) else "text"


def _begins_a_document(lines: list[bytes]) -> bool:
    """Whether the first line that is no comment is of a YAML document: a part of it, `---`, or a row in a list."""
    line = next((line for line in lines if not line.startswith(b"#")), b"")
    if line == b"---" or line.startswith((b"--- ", b"%YAML")):
        return True
    row = line.startswith(b"- ")
    name, colon, _ = line.removeprefix(b"- ").decode("utf-8", "replace").partition(":")
    return bool(colon) and (field_called(name) is not None if row else name in Document.model_fields)


def _names_a_field(cells: Iterable[str], options: ManifestOptions) -> bool:
    """A header has a column of ours, a mapped one or one that another tool would call so; a prompt has not."""
    columns = {cell.strip().strip('"') for cell in cells}
    if columns & (COLUMN_FIELDS | set(options.column_map.values())):
        return True
    return any(len(column) <= 40 and near_field(column) is not None for column in columns)
