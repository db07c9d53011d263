"""Reading files that others wrote, and files that are no images."""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from schemas.errors import InvalidInput
from services.image_metadata.carriers import Embedded, exif_block, read

TEXT = "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 8x8"


def saved(file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format=file_format, **options)
    return file.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_an_image_without_metadata_says_nothing(file_format: str) -> None:
    assert read(saved(file_format)) == Embedded(None, None)


def test_a_foreign_png() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", TEXT)
    chunks.add_text("workflow", "{}")
    assert read(saved("PNG", pnginfo=chunks)) == Embedded(TEXT, None)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_a_foreign_user_comment(file_format: str) -> None:
    assert read(saved(file_format, exif=exif_block(TEXT, None))) == Embedded(TEXT, None)


def test_the_exif_tags_have_the_type_that_piexif_and_with_it_a1111_insists_on() -> None:
    block = exif_block(TEXT, "{}").removeprefix(b"Exif\0\0")
    assert block[:4] == b"MM\0*"
    (count,) = struct.unpack_from(">H", block, 26)
    entries = [struct.unpack_from(">HHII", block, 28 + 12 * number) for number in range(count)]
    assert [entry[:2] for entry in entries] == [(0x927C, 7), (0x9286, 7)]
    for _, _, length, offset in entries:
        assert offset % 2 == 0
        assert offset + length <= len(block)


@pytest.mark.parametrize("comment", [b"ASCII\0\0\0" + TEXT.encode(), b"\0" * 8 + TEXT.encode() + b"\0"])
def test_a_user_comment_in_another_encoding(comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    assert read(saved("JPEG", exif=exif.tobytes())).infotext == TEXT


def test_the_maker_note_of_a_camera_is_not_ours() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = b"Nikon\0\2\0"
    assert read(saved("JPEG", exif=exif.tobytes())) == Embedded(None, None)


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(saved("WEBP", exif=exif_block(TEXT, None)))
    assert read(path).infotext == TEXT
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.png")


@pytest.mark.parametrize("data", [b"", b"hello", saved("PNG")[:20], b"\x89PNG\r\n\x1a\n" + b"\0" * 40, saved("GIF")])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not an image"):
        read(data)


def test_a_broken_key_of_ours_is_refused() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("promptmill", "{")
    with pytest.raises(InvalidInput, match="own key"):
        read(saved("PNG", pnginfo=chunks))
