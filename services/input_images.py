"""Input images and masks: checked where they are, and opened as a worker needs them.

Accepted are PNG, JPEG, WebP and BMP. TIFF is not: pages, floats and a dozen compressions have no one meaning as an
input. GIF and animations are not, as nothing says which frame is meant; EPS, SVG and PDF are programs, not pictures.
Their decoders are not even loaded: only these four are ever called, and nothing but `convert` and `resize` after them.
A format is told from the file's first bytes, never from its name, and the size is read before anything is decoded.
"""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from schemas.errors import InvalidInput

SMALLEST_SIDE = 8
MOST_SCANS = 100  # of a progressive JPEG; encoders make about ten
_START_OF_SCAN = 0xDA
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 274
_SIDEWAYS = frozenset({5, 6, 7, 8})
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp", "bmp": "bmp"}
_ACCEPTED = "PNG, JPEG, WebP and BMP are accepted"
# Pillow's own classes instead of Image.open: that one refuses large images by a global limit, without their size.
_PLUGINS: tuple[tuple[str, Callable[[bytes], bool], type[ImageFile.ImageFile]], ...] = (
    ("png", lambda start: start.startswith(b"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    ("jpeg", lambda start: start.startswith(b"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    ("webp", lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP", WebPImagePlugin.WebPImageFile),
    ("bmp", lambda start: start.startswith(b"BM"), BmpImagePlugin.BmpImageFile),
)
_REFUSED = (
    (b"GIF8", "a GIF"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%!PS", "PostScript"),
    (b"%PDF", "a PDF"),
    (b"8BPS", "a Photoshop file"),
    (b"<svg", "an SVG"),
    (b"<?xml", "XML, perhaps an SVG"),
)
# WebP is decoded whole, four bytes a pixel; above this its length alone is checked before it is sent.
_DECODED_IN_CHECK = 8_000_000


@dataclass(frozen=True)
class ImageLimits:
    """What is accepted: bytes of a file, and pixels (width times height)."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000


@dataclass(frozen=True)
class ImageFacts:
    """A sound input image. Width and height in pixels, as a viewer shows it (EXIF orientation applied)."""

    width: int
    height: int
    format: str
    sha256: str
    bytes: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def extension(self) -> str:
        """Of the file's name, without a dot."""
        return _EXTENSIONS[self.format]


def check_local_image(path: Path, limits: ImageLimits) -> ImageFacts:
    """Read a local image once: its hash, its size, and whether it is whole.

    PNG is checked by its checksums and JPEG decoded at an eighth of its size, which both show a file that was cut off
    or damaged at a fraction of the cost of decoding it.

    Raises:
        InvalidInput: missing, not a file, too large, not an accepted image, animated, or damaged.
    """
    try:
        if path.is_dir():
            raise InvalidInput("a folder, not an image")
        if not path.is_file():
            raise InvalidInput("not a regular file" if path.exists() else f"no such file: {path}")
        _check_bytes(path.stat().st_size, limits)
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    image, name = _open(data, limits)
    width, height = image.size[::-1] if _orientation(image) in _SIDEWAYS else image.size
    palette = image.mode == "P"
    _check_whole(image, name, data)
    if palette:  # that it fits its pixels shows when it is applied
        open_image(data, limits)
    return ImageFacts(width, height, name, hashlib.sha256(data).hexdigest(), len(data))


def open_image(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decode an image as RGB, the way a viewer shows it.

    EXIF orientation is applied, transparency shown on white, 16 bits become 8. Colour profiles are not applied, as in
    diffusers' `load_image`.

    Raises:
        InvalidInput: too large, not an accepted image, animated, or damaged.
    """
    return _decoded(data, limits, "white", "RGB")


def open_mask(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decode a mask as L, 0 to 255; white is redrawn. Transparency counts as black: white strokes on nothing work.

    Raises:
        InvalidInput: too large, not an accepted image, animated, or damaged.
    """
    return _decoded(data, limits, "black", "L")


def check_mask_matches(image: tuple[int, int], mask: tuple[int, int]) -> None:
    """A mask has the size (width, height) of its image.

    Raises:
        InvalidInput: it has another.
    """
    if image != mask:
        raise InvalidInput(f"the mask is {mask[0]} x {mask[1]} pixels, its image {image[0]} x {image[1]}")


def working_size(width: int, height: int) -> tuple[int, int]:
    """The size at which a pipeline takes an image: cut down to multiples of 8 pixels, the VAE's factor."""
    return max(SMALLEST_SIDE, width - width % 8), max(SMALLEST_SIDE, height - height % 8)


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize to exactly width x height pixels, stretched, with Lanczos: what diffusers' image processor does itself.

    Masks too: the pipeline cuts them at one half afterwards, and a thin stroke that nearest-neighbour sampling would
    drop lives through that.
    """
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _check_bytes(size: int, limits: ImageLimits) -> None:
    if size > limits.max_bytes:
        raise InvalidInput(f"{size:,} bytes; at most {limits.max_bytes:,} are accepted")
    if size == 0:
        raise InvalidInput("the file is empty")


def _open(data: bytes, limits: ImageLimits) -> tuple[ImageFile.ImageFile, str]:
    """Read the header and check it; nothing is decoded."""
    _check_bytes(len(data), limits)
    found = next(((name, plugin) for name, matches, plugin in _PLUGINS if matches(data)), None)
    if found is None:
        raise InvalidInput(f"{_what_it_is(data)}, not an image that can be used: {_ACCEPTED}")
    name, plugin = found
    try:
        image = plugin(io.BytesIO(data))
        frames = getattr(image, "n_frames", 1)
    except Exception as error:
        raise _damaged(name, error) from None
    width, height = image.size
    if width * height > limits.max_pixels:
        raise InvalidInput(f"{width} x {height} pixels; at most {limits.max_pixels:,} in all are accepted")
    if min(width, height) < SMALLEST_SIDE:
        raise InvalidInput(f"{width} x {height} pixels; at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed")
    if name == "jpeg" and _scans(data) > MOST_SCANS:
        raise InvalidInput(f"more than {MOST_SCANS} scans: each costs as much as a whole picture")
    if frames > 1:
        raise InvalidInput(f"animated, {frames} frames: give the one that is meant as a still image")
    return image, name


def _scans(data: bytes) -> int:
    """Scans of a JPEG (ITU-T T.81, B.1.1): segments are stepped over, entropy-coded data is searched for its end."""
    scans, at = 0, 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, at = data[at + 1], at + 2
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD9:  # fill bytes, and markers without a length
            at -= marker == 0xFF
            continue
        at += int.from_bytes(data[at : at + 2], "big")
        if marker == _START_OF_SCAN:
            scans += 1
            end = _END_OF_SCAN.search(data, at)
            at = end.start() if end else len(data)
    return scans


def _what_it_is(data: bytes) -> str:
    start = data[:64].lstrip()
    for magic, what in _REFUSED:
        if start.startswith(magic):
            return what
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or a video"
    try:
        text = data[:512].decode()
    except UnicodeDecodeError as error:
        text = data[: error.start].decode() if error.start > 500 else "\0"
    return "a file of unknown kind" if "\0" in text else "a text file"


def _decoded(data: bytes, limits: ImageLimits, ground: str, mode: str) -> Image.Image:
    """The image as it is seen, transparency on the ground's colour. Damage can show as late as in a conversion: of a
    palette that is missing, for one.
    """
    file, name = _open(data, limits)
    try:
        orientation = _orientation(file)
        file.load()
        image = file.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else file
        image = _eight_bits(image)
        return (_on(image, ground) if image.has_transparency_data else image).convert(mode)
    except Exception as error:
        raise _damaged(name, error) from None


def _check_whole(image: ImageFile.ImageFile, name: str, data: bytes) -> None:
    try:
        if name == "png":
            image.verify()
        elif name == "webp" and int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise OSError("the file is cut off")
        elif name != "webp" or image.width * image.height <= _DECODED_IN_CHECK:
            image.draft("L", (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
    except Exception as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> InvalidInput:
    """Pillow names no closed list of what damaged input raises: OSError, SyntaxError, ValueError, struct.error, ..."""
    detail = f": {error}" if isinstance(error, OSError | SyntaxError) else ""
    return InvalidInput(f"a damaged {name.upper()}, or one that is cut off{detail}")


def _orientation(image: Image.Image) -> int:
    try:
        # The base class's: PNG's own decodes the whole image in search of a late chunk.
        return int(Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1  # An image with unreadable EXIF data is an image still.


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    # Sixteen bits of grey; Pillow's own conversion would clip everything above 255 to white.
    return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")


def _on(image: Image.Image, colour: str) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, colour), layer)
