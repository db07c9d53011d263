"""Texts of image files that mean harm, or are damaged: an answer at once, and no pixel decoded."""

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from schemas.errors import InvalidInput
from services.image_metadata.carriers import exif_block
from services.image_metadata.containers import MAX_TEXT, read_texts

PNG = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, width: int = 8, height: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG + header + b"".join(chunks) + chunk(b"IEND", b"")


def saved(file_format: str, size: tuple[int, int] = (24, 16), **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, format=file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_the_size_stands_in_the_header(file_format: str) -> None:
    options = {} if file_format == "PNG" else {"exif": exif_block("text", None)}
    found = read_texts(saved(file_format, **options))
    assert (found.format, found.size) == (file_format.lower(), (24, 16))


def test_every_kind_of_png_text_is_read_wherever_it_stands() -> None:
    packed = zlib.compress("été".encode("latin-1"))
    international = b"i\0\1\0de\0\0" + zlib.compress("夜".encode())
    data = png(
        chunk(b"tEXt", b"t\0plain"),
        chunk(b"IDAT", b"no pixels"),
        chunk(b"zTXt", b"z\0\0" + packed),
        chunk(b"iTXt", international),
        chunk(b"tEXt", b"t\0second"),
    )
    assert read_texts(data).texts == {"t": "plain", "z": "été", "i": "夜"}


def test_pillows_own_texts_are_read() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "夜 " * 100, zip=True)
    assert read_texts(saved("PNG", pnginfo=info)).texts == {"parameters": "夜 " * 100}


def test_a_decompression_bomb_of_pixels_costs_nothing() -> None:
    data = png(chunk(b"tEXt", b"parameters\0a cat"), chunk(b"IDAT", b"x" * 1000), width=2**31 - 1, height=2**31 - 1)
    assert read_texts(data).texts == {"parameters": "a cat"}


def test_a_decompression_bomb_of_text_is_refused_in_bounded_memory() -> None:
    bomb = zlib.compress(bytes(100 * 2**20), 6)
    tracemalloc.start()
    with pytest.raises(InvalidInput, match="packed text of more than"):
        read_texts(png(chunk(b"zTXt", b"z\0\0" + bomb)))
    assert tracemalloc.get_traced_memory()[1] < 3 * MAX_TEXT
    tracemalloc.stop()


def test_a_huge_text_is_refused_before_it_is_read() -> None:
    data = PNG + struct.pack(">I4s", 2**31 - 1, b"tEXt") + b"parameters\0"
    with pytest.raises(InvalidInput, match="a text of"):
        read_texts(data)


def test_many_texts_are_refused_when_they_are_too_much_together() -> None:
    one = chunk(b"tEXt", b"t\0" + b"x" * (MAX_TEXT - 10))
    with pytest.raises(InvalidInput, match="texts are longer"):
        read_texts(png(*[one] * 5))


def test_a_file_that_is_cut_off_behind_its_text_still_says_how_it_was_made() -> None:
    data = png(chunk(b"tEXt", b"parameters\0a cat"), chunk(b"IDAT", b"x" * 1000))
    assert read_texts(data[:-500]).texts == {"parameters": "a cat"}
    with pytest.raises(InvalidInput, match="cut off"):
        read_texts(data[:40])


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (PNG + chunk(b"tEXt", b"t\0x")[:-4] + b"\0\0\0\0", "checksum"),
        (png(chunk(b"zTXt", b"z\0\0not zlib")), "unpacked"),
        (b"\xff\xd8\x00\x00\x00", "no marker"),
        (b"\xff\xd8" + b"\xff" * 200_000, "fill bytes"),
        (b"\xff\xd8\xff\xe1\x00\x20Exif\0\0MM\0*" + b"\xff" * 40, "EXIF"),
        (b"RIFF\0\0\0\0WEBPEXIF" + struct.pack("<I", 2**31), "a text of"),
        (b"GIF89a" + b"\0" * 20, "no PNG, JPEG or WebP"),
        (PNG + chunk(b"aaAa", b"") * 100_001, "chunks"),
    ],
)
def test_what_is_damaged_is_named(data: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_texts(data)


def test_utf_16_of_either_byte_order_is_read() -> None:
    for encoding in ("utf-16-be", "utf-16-le"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a cat, 夜".encode(encoding)
        assert read_texts(saved("JPEG", exif=exif.tobytes())).texts == {"parameters": "a cat, 夜"}


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([png(chunk(b"tEXt", b"t\0x")), saved("JPEG", exif=exif_block("t", "{}")), saved("WEBP")]),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=4),
    st.integers(0, 1000),
)
def test_whatever_is_in_a_file_it_is_read_or_refused(data: bytes, changes: list[tuple[int, bytes]], end: int) -> None:
    for place, new in changes:
        data = data[:place] + new + data[place + len(new) :]
    with suppress(InvalidInput):
        read_texts(data[:end] or data)
