"""A manifest file -> numbered lines of bytes: gzip, byte order marks, and files that mean harm or are no text."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.options import ReadLimits
from schemas.errors import Fault, ManifestError

_CHUNK = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_OTHER_FILES = (
    (b"PAR1", "this is a Parquet file: name it .parquet, or --format parquet"),
    (b"PK\x03\x04", "this is a workbook or a zip archive: save the sheet as CSV"),
    (b"\xff\xfe", "this is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "this is UTF-16: save it as UTF-8"),
)

NOT_UTF8 = "not UTF-8"
SAVE_AS = "save it as UTF-8 (in Excel: CSV UTF-8)"

Line = tuple[int, bytes]
"""Its number, from 1, and its bytes."""

Record = tuple[int, dict[str, Any], dict[str, Any] | None]
"""Line, values of our fields, columns of the user's own (None: none)."""


class Source:
    """An open manifest, decompressed where it begins like gzip.

    Raises:
        ManifestError: there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            if not path.is_file():
                missing = "is not a regular file" if path.exists() else "no such file"
                raise ManifestError([Fault(line=None, field=None, value=str(path), message=missing)])
            self._file: BinaryIO = path.open("rb")
        except (OSError, ValueError) as error:
            raise ManifestError([Fault(line=None, field=None, value=str(path), message=_reason(error))]) from error
        self.compressed = self._file.read(2) == _GZIP_MAGIC
        self._file.seek(0)
        self._stream: BinaryIO = self._file
        if self.compressed:
            self._stream = io.BufferedReader(gzip.GzipFile(fileobj=self._file), _CHUNK)

    def read(self, size: int = _CHUNK) -> bytes:
        """The next bytes, decompressed; empty at the end.

        Raises:
            OSError, EOFError, zlib.error: the disk, or a gzip stream that is damaged or cut off.
        """
        return self._stream.read(size)

    @property
    def position(self) -> int:
        """Bytes read of the file itself."""
        return self._file.tell()

    def close(self) -> None:
        self._stream.close()
        self._file.close()


def head(path: Path, size: int = 64 * 1024) -> bytes:
    """The first bytes of a manifest, decompressed, without a byte order mark; empty where it cannot be decompressed.

    Raises:
        ManifestError: there is no such file, or it cannot be read.
    """
    with closing(Source(path)) as source:
        try:
            return source.read(size).removeprefix(_BOM)
        except (OSError, EOFError, zlib.error):
            return b""


def iter_lines(path: Path, limits: ReadLimits, faults: Faults) -> Iterator[Line]:
    """Lines with their numbers from 1, without their ends. Lines that are no text are faults and left out.

    A line ends with LF, as in an editor; a CR before it is left to the reader. Memory is bounded by the longest line
    that is allowed.
    """
    try:
        source = Source(path)
    except ManifestError as error:
        faults.extend(error)
        return
    with closing(source):
        lines = _Splitter(limits, faults)
        for chunk in _chunks(source, lines, limits, faults):
            yield from lines.feed(chunk)
        yield from lines.rest()


def read_text(path: Path, limits: ReadLimits, faults: Faults) -> str | None:
    """The whole text of a document; None where it is none, which is a fault."""
    try:
        source = Source(path)
    except ManifestError as error:
        faults.extend(error)
        return None
    before = faults.total
    small = replace(limits, total_bytes=limits.document_bytes)
    with closing(source):
        raw = b"".join(_chunks(source, _Splitter(small, faults), small, faults))
    if faults.total > before:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        faults.add(line, f"{NOT_UTF8}: byte {raw[error.start]:#04x}")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        faults.add(line, "a NUL character: this is no text file, or a damaged one")
        return None
    return text


class _Splitter:
    """Cuts chunks into lines. The usual chunk goes through in C; one with NUL or a long line is looked at closely."""

    def __init__(self, limits: ReadLimits, faults: Faults) -> None:
        self.number = 0
        self._tail = b""
        self._skipping = False
        self._limit = limits.line_bytes
        self._faults = faults

    def feed(self, chunk: bytes) -> Iterator[Line]:
        if self._skipping:
            end = chunk.find(b"\n")
            if end < 0:
                return
            chunk, self._skipping = chunk[end + 1 :], False
        block = self._tail + chunk
        parts = block.split(b"\n")
        self._tail = parts.pop()
        first = self.number + 1
        self.number += len(parts)
        usual = len(block) <= self._limit and b"\0" not in block
        yield from enumerate(parts, first) if usual else self._good(enumerate(parts, first))
        if len(self._tail) > self._limit:
            self.number += 1
            self._too_long(self.number)
            self._tail, self._skipping = b"", True

    def rest(self) -> Iterator[Line]:
        if self._tail:
            self.number += 1
            yield from self._good(iter([(self.number, self._tail)]))

    def _good(self, lines: Iterator[Line]) -> Iterator[Line]:
        for number, text in lines:
            if len(text) > self._limit:
                self._too_long(number)
            elif b"\0" in text:
                self._faults.add(number, "a NUL character: this is no text file, or a damaged one")
            else:
                yield number, text

    def _too_long(self, number: int) -> None:
        self._faults.add(number, f"a line longer than {self._limit:,} bytes")


def _chunks(source: Source, lines: _Splitter, limits: ReadLimits, faults: Faults) -> Iterator[bytes]:
    total = 0
    while True:
        try:
            chunk = source.read()
        except (OSError, EOFError, zlib.error) as error:
            what = "the gzip stream is damaged or cut off" if source.compressed else "reading failed"
            faults.add(lines.number + 1, f"{what} here: {_reason(error)}")
            return
        if total == 0:
            chunk = chunk.removeprefix(_BOM)
            wrong = _not_a_text(chunk)
            if wrong:
                faults.add(None, wrong)
                return
        if not chunk:
            return
        total += len(chunk)
        if _is_too_much(total, source, limits):
            faults.add(lines.number + 1, f"{total:,} bytes so far, from {source.position:,}: too much; unpack it first")
            return
        yield chunk


def _is_too_much(total: int, source: Source, limits: ReadLimits) -> bool:
    if total > limits.total_bytes:
        return True
    expands = total > limits.gzip_free_bytes and total > source.position * limits.gzip_ratio
    return source.compressed and expands


def _not_a_text(start: bytes) -> str | None:
    for magic, message in _OTHER_FILES:
        if start.startswith(magic):
            return message
    if b"\r" in start and b"\n" not in start and len(start) < _CHUNK:
        body = start.rstrip(b"\r")
        return "lines end with CR alone: save it with LF or CR LF" if b"\r" in body else None
    return None


def not_utf8(raw: bytes, error: UnicodeDecodeError) -> str:
    """What to say of a line that is not UTF-8."""
    return f"{NOT_UTF8}: byte {raw[error.start]:#04x} at byte {error.start + 1} of the line; {SAVE_AS}"


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
