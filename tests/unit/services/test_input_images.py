"""Input images and masks: what is accepted, what is refused and why, and what a worker gets."""

import hashlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from schemas.errors import InvalidInput
from services.input_images import (
    ImageLimits,
    check_local_image,
    check_mask_matches,
    fit,
    open_image,
    open_mask,
    working_size,
)

LIMITS = ImageLimits()
FORMATS = ["PNG", "JPEG", "WEBP", "BMP"]


def encoded(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, name, **options)
    return sink.getvalue()


def noise(size: tuple[int, int] = (48, 32)) -> Image.Image:
    return Image.effect_noise(size, 80).convert("RGB")


def png(*chunks: bytes) -> bytes:
    """A PNG of these chunks: type and data each."""
    parts = (struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) for body in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png(header, b"IDAT" + zlib.compress(bytes(10_000)))


def with_palette(*chunks: bytes) -> bytes:
    """A PNG of 16 x 16 palette indices, with these chunks for a palette."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 16, 16, 8, 3, 0, 0, 0)
    return png(header, *chunks, b"IDAT" + zlib.compress(bytes(17 * 16)), b"IEND")


@pytest.mark.parametrize("name", FORMATS)
def test_facts_of_a_sound_image(tmp_path: Path, name: str) -> None:
    data = encoded(noise(), name)
    # The name does not count: the first bytes do.
    path = tmp_path / "image.dat"
    path.write_bytes(data)
    facts = check_local_image(path, LIMITS)
    assert (facts.size, facts.format, facts.bytes) == ((48, 32), name.lower(), len(data))
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert facts.extension == {"JPEG": "jpg"}.get(name, name.lower())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"I am a text", "a text file, not an image that can be used: PNG, JPEG, WebP and BMP are accepted"),
        ("Ich bin ein Text: größer".encode() * 100, "a text file"),
        (b"\x00\x01\x02\x03", "a file of unknown kind"),
        (b"<svg xmlns='x'/>", "an SVG"),
        (b"<?xml version='1.0'?><svg/>", "XML, perhaps an SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x20ftypheic", "HEIC, AVIF or a video"),
        (encoded(noise(), "GIF"), "a GIF, not an image"),
        (encoded(noise(), "TIFF"), "a TIFF, not an image"),
        (png_header(50_000, 50_000), "50000 x 50000 pixels; at most 64,000,000 in all are accepted"),
        (png_header(0, 0), "a damaged PNG"),
        (encoded(Image.new("RGB", (7, 64))), "7 x 64 pixels; at least 8 x 8 are needed"),
        (b"\x89PNG\r\n\x1a\n", "a damaged PNG, or one that is cut off"),
        (b"\xff\xd8\xff\xe0", "a damaged JPEG, or one that is cut off"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a damaged WEBP, or one that is cut off"),
        (b"BM", "a damaged BMP, or one that is cut off"),
        (with_palette(), "a damaged PNG"),
        (with_palette(b"PLTE" + bytes(6), b"tRNS" + bytes(300)), "a damaged PNG"),
    ],
)
def test_what_is_no_usable_image_is_refused_with_what_it_is(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        check_local_image(path, LIMITS)
    assert message in caught.value.message
    for opener in (open_image, open_mask):
        with pytest.raises(InvalidInput) as caught:
            opener(data, LIMITS)
        assert message in caught.value.message


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_off_is_refused_before_it_is_sent(tmp_path: Path, name: str) -> None:
    data = encoded(noise((400, 300)), name)
    path = tmp_path / "image"
    for share in (0.2, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InvalidInput, match=f"a damaged {name}, or one that is cut off"):
            check_local_image(path, LIMITS)
        with pytest.raises(InvalidInput, match=f"a damaged {name}, or one that is cut off"):
            open_image(path.read_bytes(), LIMITS)


def test_a_png_with_changed_bytes_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    data = bytearray(encoded(noise((400, 300))))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InvalidInput, match="a damaged PNG"):
        check_local_image(tmp_path / "a.png", LIMITS)


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_an_animation_is_refused(name: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    with pytest.raises(InvalidInput, match="animated, 3 frames: give the one that is meant"):
        open_image(data, LIMITS)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "a folder, not an image"),
        (tmp_path / "a\0b", "."),
        (tmp_path / ("x" * 5000), "."),
        (Path("/dev/zero"), "not a regular file"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            check_local_image(path, LIMITS)


def test_a_file_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(LIMITS.max_bytes + 1)
    with pytest.raises(InvalidInput, match="67,108,865 bytes; at most 67,108,864 are accepted"):
        check_local_image(path, LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_the_facts_agree(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), "black")
    upright.paste("red", (0, 0, 8, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.png"
    path.write_bytes(encoded(stored, "PNG", exif=exif))
    assert check_local_image(path, LIMITS).size == (32, 16)
    opened = open_image(path.read_bytes(), LIMITS)
    assert opened.size == (32, 16)
    assert opened.tobytes() == upright.tobytes()


@pytest.mark.parametrize(
    ("image", "options", "rgb", "mask"),
    [
        (Image.new("RGB", (8, 8), (1, 2, 3)), {}, (1, 2, 3), 2),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), {}, (255, 255, 255), 0),
        (Image.new("RGBA", (8, 8), (255, 255, 255, 255)), {}, (255, 255, 255), 255),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 51)), {}, (204, 204, 204), 0),
        (Image.new("LA", (8, 8), (0, 0)), {}, (255, 255, 255), 0),
        (Image.new("L", (8, 8), 9), {}, (9, 9, 9), 9),
        (Image.new("1", (8, 8), 1), {}, (255, 255, 255), 255),
        (Image.new("I;16", (8, 8), 65535), {}, (255, 255, 255), 255),
        (Image.new("I;16", (8, 8), 257 * 100), {}, (100, 100, 100), 100),
        (Image.new("RGB", (8, 8), (9, 9, 9)), {"transparency": (9, 9, 9)}, (255, 255, 255), 0),
        (Image.new("P", (8, 8), 0), {"transparency": bytes([0] * 256)}, (255, 255, 255), 0),
    ],
)
def test_every_kind_of_png_becomes_what_a_viewer_shows(
    image: Image.Image, options: dict[str, Any], rgb: tuple[int, int, int], mask: int
) -> None:
    data = encoded(image, "PNG", **options)
    opened, opened_mask = open_image(data, LIMITS), open_mask(data, LIMITS)
    assert (opened.mode, opened.getpixel((0, 0))) == ("RGB", rgb)
    assert (opened_mask.mode, opened_mask.getpixel((0, 0))) == ("L", mask)


def png16(channels: int, values: tuple[int, ...], *, interlaced: bool = False) -> bytes:
    """An 8 x 8 PNG of 16 bits a channel, which Pillow cannot write: grey, grey and alpha, RGB, RGBA."""

    def chunk(body: bytes) -> bytes:
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    pixel = struct.pack(f">{channels}H", *values)
    # Adam7's seven passes of an 8 x 8 image: rows and pixels a row.
    passes = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)] if interlaced else [(8, 8)]
    lines = b"".join((b"\0" + pixel * width) * height for height, width in passes)
    header = b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 16, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, (header, b"IDAT" + zlib.compress(lines), b"IEND")))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("values", "rgb", "mask"),
    [
        ((0xFFFF,), (255, 255, 255), 255),
        ((0x6464,), (100, 100, 100), 100),
        ((0x0100,), (1, 1, 1), 1),
        ((0x6464, 0xFFFF), (100, 100, 100), 100),
        ((0x6464, 0x0000), (255, 255, 255), 0),
        ((0xC8C8, 0x6464, 0x3232), (200, 100, 50), None),
        ((0xC8C8, 0x6464, 0x3232, 0xFFFF), (200, 100, 50), None),
        ((0xC8C8, 0x6464, 0x3232, 0x0000), (255, 255, 255), 0),
    ],
)
def test_sixteen_bits_a_channel_become_eight(
    values: tuple[int, ...], rgb: tuple[int, int, int], mask: int | None, interlaced: bool
) -> None:
    data = png16(len(values), values, interlaced=interlaced)
    found = open_image(data, LIMITS).getpixel((5, 3))
    assert isinstance(found, tuple)
    assert max(abs(one - other) for one, other in zip(found, rgb, strict=True)) <= 1
    if mask is not None:
        grey = open_mask(data, LIMITS).getpixel((5, 3))
        assert isinstance(grey, int)
        assert abs(grey - mask) <= 1


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_webp_with_alpha_stands_on_white(alpha: int) -> None:
    data = encoded(Image.new("RGBA", (8, 8), (0, 0, 200, alpha)), "WEBP", lossless=True)
    assert open_image(data, LIMITS).getpixel((0, 0)) == ((0, 0, 200) if alpha else (255, 255, 255))


def test_a_palette_with_alpha_in_it_stands_on_white() -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.putpixel((0, 0), 0)
    data = encoded(picture, "PNG", transparency=0)
    opened = open_image(data, LIMITS)
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 1))) == ((255, 255, 255), (10, 20, 30))


@pytest.mark.parametrize("depth", ["1", "P", "RGB", "L"])
def test_a_bmp_of_every_depth(depth: str) -> None:
    picture = Image.new("RGB", (16, 8), "white").convert(depth)
    assert open_image(encoded(picture, "BMP"), LIMITS).getpixel((3, 3)) == (255, 255, 255)


class TestBombs:
    def test_a_small_file_with_a_large_picture_is_refused_before_it_is_decoded(self) -> None:
        picture = Image.new("1", (20_000, 20_000))
        data = encoded(picture, "PNG")
        assert len(data) < 100_000
        picture.close()
        with patch.object(Image.Image, "load", side_effect=AssertionError("decoded")):
            for opener in (open_image, open_mask):
                with pytest.raises(InvalidInput, match="20000 x 20000 pixels"):
                    opener(data, LIMITS)

    def test_a_text_that_unpacks_to_a_hundred_megabytes(self) -> None:
        body = b"zTXtnote\0\0" + zlib.compress(bytes(100_000_000), 9)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        sound = encoded(noise())
        tracemalloc.start()
        with pytest.raises(InvalidInput, match="a damaged PNG"):
            open_image(sound[:33] + chunk + sound[33:], LIMITS)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 20_000_000

    def test_a_jpeg_of_a_thousand_scans(self) -> None:
        data = encoded(noise(), "JPEG", progressive=True)
        assert open_image(data, LIMITS).size == (48, 32)
        at = data.rindex(b"\xff\xda")
        scan = data[at:-2]
        with pytest.raises(InvalidInput, match="more than 100 scans"):
            open_image(data[:at] + scan * 1000 + data[-2:], LIMITS)

    def test_bytes_that_look_like_scans_in_a_comment_are_none(self) -> None:
        data = encoded(noise(), "JPEG", comment=b"\xff\xda" * 1000)
        assert open_image(data, LIMITS).size == (48, 32)


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    red, green, blue = open_image(data, LIMITS).getpixel((4, 4))  # type: ignore[misc]
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize(
    ("size", "expected"), [((512, 512), (512, 512)), ((519, 513), (512, 512)), ((9, 15), (8, 8)), ((8, 64), (8, 64))]
)
def test_the_working_size_is_cut_down_to_multiples_of_8(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(*size) == expected


def test_fit_resizes_to_exactly_that_size_and_leaves_a_fitting_image_alone() -> None:
    image = noise((50, 40))
    assert fit(image, 50, 40) is image
    assert fit(image, 64, 16).tobytes() == image.resize((64, 16), Image.Resampling.LANCZOS).tobytes()


def test_a_thin_stroke_of_a_mask_lives_through_being_made_smaller() -> None:
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (33, 0, 37, 64))
    assert max(fit(mask, 16, 16).tobytes()) > 127


def test_a_mask_has_the_size_of_its_image() -> None:
    check_mask_matches((64, 48), (64, 48))
    with pytest.raises(InvalidInput, match="the mask is 48 x 64 pixels, its image 64 x 48"):
        check_mask_matches((64, 48), (48, 64))


@settings(deadline=None, max_examples=150)
@given(st.data(), st.sampled_from(FORMATS))
def test_damaged_bytes_give_an_image_or_a_clear_refusal_never_another_error(data: st.DataObject, name: str) -> None:
    refusals = []
    drawn = Image.radial_gradient("L").resize((24, 16)).convert("RGB")
    modes = ["RGB", "P", "L"] if name in ("PNG", "BMP") else ["RGB", "L"]
    content = bytearray(encoded(drawn.convert(data.draw(st.sampled_from(modes))), name))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    for opener in (open_image, open_mask):
        try:
            opener(bytes(content), ImageLimits(max_pixels=1_000_000)).tobytes()
        except InvalidInput as error:
            refusals.append(error.message)
    assert all(refusals)
