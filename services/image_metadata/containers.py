"""Texts and size of a PNG, JPEG or WebP file, from its chunks alone: no pixel is decoded, nothing is trusted.

A chunk that is no text is passed over unread, so that a picture of any size costs nothing; a text has a limit, packed
and unpacked. Layouts: PNG (ISO/IEC 15948), sections 5 and 11.3.4; JPEG (ITU-T T.81), annex B; WebP (RFC 9649).
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image

from schemas.errors import InvalidInput
from schemas.rows import ImageFormat

PARAMETERS = "parameters"
OWN = "promptmill"
MAKER = b"promptmill\0"  # first bytes of our MakerNote, and of our JPEG segments
UNICODE = b"UNICODE\0"

# ComfyUI's workflows come to some megabytes; nothing that made an image needs more.
MAX_TEXT = 16 * 2**20
MAX_TEXTS = 64 * 2**20
MAX_CHUNKS = 100_000

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE, _APP1, _APP15 = 0xDA, 0xD9, 0xE1, 0xEF
_EXIF = b"Exif\0\0"
_NO_IMAGE = "not an image that can be read: "


class ImageTexts(NamedTuple):
    """What a file says. PNG: its text chunks by keyword; JPEG and WebP: the UserComment as `parameters`, and our own
    text. Size in pixels as the header gives it, None where it could not be read."""

    format: ImageFormat
    size: tuple[int, int] | None
    texts: dict[str, str]


def read_texts(source: Path | bytes) -> ImageTexts:
    """Read a file's texts. A file that is cut off behind them is good enough.

    Raises:
        InvalidInput: not a PNG, JPEG or WebP file, cut off before any text, or a text is damaged or too long.
        OSError: the file cannot be read.
    """
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise InvalidInput("not a regular file")  # to open a pipe is to wait for its writer
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        start = file.read(12)
        for name, matches, read in (
            ("png", start.startswith(_PNG), _png),
            ("jpeg", start.startswith(_JPEG), _jpeg),
            ("webp", start[:4] == b"RIFF" and start[8:] == b"WEBP", _webp),
        ):
            if matches:
                try:
                    return _read(name, read(file))  # type: ignore[arg-type]
                except _Unreadable as error:
                    raise InvalidInput(f"{_NO_IMAGE}{error}") from None
    raise InvalidInput(f"{_NO_IMAGE}{'the file is empty' if not start else 'no PNG, JPEG or WebP file'}")


class _Size(NamedTuple):
    width: int
    height: int


class _Cut(Exception):
    """The file ends in the middle."""


class _Unreadable(Exception):
    """What is wrong with a file."""


_Found = _Size | tuple[str, str]


def _read(name: ImageFormat, parts: Iterator[_Found]) -> ImageTexts:
    texts: dict[str, str] = {}
    size: tuple[int, int] | None = None
    total = 0
    try:
        for part in parts:
            if isinstance(part, _Size):
                size = size or (part.width, part.height)
                continue
            total += len(part[1])
            if total > MAX_TEXTS:
                raise _Unreadable(f"its texts are longer than {MAX_TEXTS:,} bytes")
            texts.setdefault(*part)
    except _Cut:
        if not texts:
            raise _Unreadable("the file is cut off") from None
    return ImageTexts(name, size, texts)


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise _Cut
    return data


def _png(file: BinaryIO) -> Iterator[_Found]:
    file.seek(len(_PNG))
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        if kind == b"IEND":
            return
        if kind not in (b"IHDR", b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, io.SEEK_CUR)
            continue
        if length > MAX_TEXT:
            raise _Unreadable(f"a text of {length:,} bytes; at most {MAX_TEXT:,} are read")
        data = _exactly(file, length)
        if _exactly(file, 4) != zlib.crc32(kind + data).to_bytes(4, "big"):
            raise _Unreadable("a damaged PNG: the checksum of a text is wrong")
        if kind == b"IHDR" and length >= 8:
            yield _Size(*struct.unpack(">II", data[:8]))
        elif kind != b"IHDR":
            yield _png_text(kind, data)
    raise _Unreadable(f"more than {MAX_CHUNKS:,} chunks")


def _png_text(kind: bytes, data: bytes) -> tuple[str, str]:
    keyword, _, rest = data.partition(b"\0")
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        return name, rest.decode("latin-1")
    if kind == b"zTXt":
        return name, _unpacked(rest[1:]).decode("latin-1")
    packed, rest = rest[:1] == b"\1", rest[2:]
    _language, _, rest = rest.partition(b"\0")
    _translated, _, text = rest.partition(b"\0")
    return name, (_unpacked(text) if packed else text).decode("utf-8", errors="replace")


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MAX_TEXT)
    except zlib.error:
        raise _Unreadable("a damaged PNG: a packed text cannot be unpacked") from None
    if unpacker.unconsumed_tail:
        raise _Unreadable(f"a packed text of more than {MAX_TEXT:,} bytes")
    return text


def _jpeg(file: BinaryIO) -> Iterator[_Found]:
    file.seek(len(_JPEG))
    own = b""
    for _ in range(MAX_CHUNKS):
        marker = _marker(file)
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack(">H", _exactly(file, 2))
        data = _exactly(file, max(0, length - 2))
        if marker in _FRAMES and len(data) >= 5:
            yield _Size(*struct.unpack(">HH", data[1:5])[::-1])
        elif marker == _APP1 and data.startswith(_EXIF):
            yield from _exif(data)
        elif marker == _APP15 and data.startswith(MAKER) and len(own) < MAX_TEXT:
            own += data.removeprefix(MAKER)
    if own:
        yield OWN, own.decode(errors="replace")


def _marker(file: BinaryIO) -> int:
    """The next marker. Any number of 0xFF may stand before it."""
    if _exactly(file, 1) != b"\xff":
        raise _Unreadable("a damaged JPEG: no marker where one has to be")
    for _ in range(MAX_CHUNKS):
        byte = _exactly(file, 1)[0]
        if byte != 0xFF:
            return byte
    raise _Unreadable("a damaged JPEG: nothing but fill bytes")


def _webp(file: BinaryIO) -> Iterator[_Found]:
    file.seek(12)
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if not head:
            return
        if len(head) < 8:
            raise _Cut
        kind, length = struct.unpack("<4sI", head)
        if kind == b"VP8X" and length >= 10:
            data = _exactly(file, 10)
            file.seek(length - 10, io.SEEK_CUR)
            yield _Size(int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1)
        elif kind == b"EXIF":
            if length > MAX_TEXT:
                raise _Unreadable(f"a text of {length:,} bytes; at most {MAX_TEXT:,} are read")
            yield from _exif(_exactly(file, length))
        else:
            file.seek(length, io.SEEK_CUR)
        file.seek(length % 2, io.SEEK_CUR)


def _exif(data: bytes) -> Iterator[_Found]:
    """UserComment and our MakerNote."""
    try:
        exif = Image.Exif()
        exif.load(data)
        directory = exif.get_ifd(ExifTags.IFD.Exif)
        comment, note = directory.get(ExifTags.Base.UserComment), directory.get(ExifTags.Base.MakerNote)
    except Exception as error:  # Pillow raises nearly anything at broken or hostile EXIF
        raise _Unreadable(f"damaged EXIF data: {error}") from None
    text = _comment(comment) if isinstance(comment, bytes) else ""
    if text:
        yield PARAMETERS, text
    if isinstance(note, bytes) and note.startswith(MAKER):
        yield OWN, note.removeprefix(MAKER).decode(errors="replace")


def _comment(data: bytes) -> str:
    """A UserComment's text. The first 8 bytes name its encoding (Exif 2.3, 4.6.5). UTF-16 is big endian here, as A1111
    writes it, and little endian where others follow the file's byte order: the zeros of Latin letters tell."""
    prefix, body = data[:8], data[8:]
    if prefix != UNICODE:
        return body.decode("utf-8", errors="replace").rstrip("\0")
    little = body[1::2].count(0) > body[::2].count(0)
    return body.decode("utf-16-le" if little else "utf-16-be", errors="replace").rstrip("\0")
