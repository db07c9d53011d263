"""Where the two texts stand in a file.

| file | infotext                  | our own key                                                          |
|------|---------------------------|----------------------------------------------------------------------|
| PNG  | text chunk `parameters`   | text chunk `promptmill`                                              |
| WebP | EXIF UserComment          | EXIF MakerNote                                                       |
| JPEG | EXIF UserComment          | EXIF MakerNote; where both exceed one segment (64 KB): APP15 segments |

UserComment holds the infotext alone, as `UNICODE\\0` and UTF-16, big endian: what A1111 writes (through piexif) and
what A1111, Civitai and sd-parsers read without looking at the prefix. Another text in it would end up in their
settings. MakerNote is the tag that the Exif standard leaves to the maker of the writer; ours begins with our name.
JPEG is the only one with a limit. There our own key is always whole; an infotext over the limit has its prompts cut
and says so (`services.image_metadata.infotext.cut`).
"""

import struct
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, PngImagePlugin

from services.image_metadata.containers import MAKER, OWN, PARAMETERS, UNICODE, read_texts
from services.image_metadata.infotext import cut
from services.image_metadata.record import ImageRecord, parse_record

JPEG_SEGMENT = 65_533  # bytes behind a marker: its two length bytes count themselves

_APP15 = b"\xff\xef"
_EXIF_ROOM = 100  # header and directories around the two values
_LONG, _UNDEFINED = 4, 7  # TIFF's numbers for types
_ENTRY = 12  # bytes of one entry in a directory


class Embedded(NamedTuple):
    """What was found in a file: A1111's text and our own record, each None where there is none."""

    infotext: str | None
    record: ImageRecord | None


class JpegMetadata(NamedTuple):
    """Pillow's `exif` and `extra` arguments."""

    exif: bytes
    extra: bytes


def png_chunks(text: str, own: str) -> PngImagePlugin.PngInfo:
    """Both texts as PNG text chunks. Pillow writes tEXt where Latin-1 holds the text, else iTXt."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(PARAMETERS, text)
    chunks.add_text(OWN, own)
    return chunks


def exif_block(text: str, own: str | None) -> bytes:
    """Both texts as one EXIF block, of any size.

    Written by hand: Pillow stores bytes of these tags as BYTE, and piexif, through which A1111 reads, gives up
    unless they are UNDEFINED. Layout: TIFF 6.0, section 2, and Exif 2.3, 4.6.
    """
    values = {ExifTags.Base.UserComment: UNICODE + text.encode("utf-16-be")}
    if own is not None:
        values[ExifTags.Base.MakerNote] = MAKER + own.encode()
    first = 8  # offsets count from the TIFF header, behind b"Exif\0\0"
    pointer = struct.pack(">HHHIII", 1, ExifTags.IFD.Exif, _LONG, 1, first + _ENTRY + 6, 0)
    start = first + len(pointer) + 2 + _ENTRY * len(values) + 4
    entries, data = b"", b""
    for tag, value in sorted(values.items()):
        entries += struct.pack(">HHII", tag, _UNDEFINED, len(value), start + len(data))
        data += value + b"\0" * (len(value) % 2)  # a value begins at an even offset
    directory = struct.pack(">H", len(values)) + entries + bytes(4)
    return b"Exif\0\0MM\0*" + struct.pack(">I", first) + pointer + directory + data


def jpeg_metadata(text: str, own: str) -> JpegMetadata:
    """Both texts in the segments of a JPEG file."""
    block = exif_block(text, own)
    if len(block) <= JPEG_SEGMENT:
        return JpegMetadata(block, b"")
    return JpegMetadata(exif_block(cut(text, JPEG_SEGMENT - _EXIF_ROOM), None), _app_segments(own.encode()))


def _app_segments(data: bytes) -> bytes:
    room = JPEG_SEGMENT - len(MAKER)
    pieces = [data[start : start + room] for start in range(0, len(data), room)]
    bodies = [MAKER + piece for piece in pieces]
    return b"".join(_APP15 + (len(body) + 2).to_bytes(2, "big") + body for body in bodies)


def read(source: Path | bytes) -> Embedded:
    """Both texts of a PNG, JPEG or WebP file; foreign files have the first at most.

    Raises:
        InvalidInput: not an image, broken, or our own key in it cannot be understood.
        OSError: the file cannot be read.
    """
    texts = read_texts(source).texts
    own = texts.get(OWN)
    return Embedded(texts.get(PARAMETERS), None if own is None else parse_record(own))
