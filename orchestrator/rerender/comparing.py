"""Whether an image came out the same, and where not, what was different."""

from collections.abc import Iterator
from typing import Any, Literal

from PIL import Image, ImageChops

from schemas.base import Frozen
from schemas.errors import InvalidInput
from services.image_metadata.containers import OWN, read_texts
from services.image_metadata.record import ImageRecord, parse_record
from services.input_images import ImageLimits, open_image

Outcome = Literal["equal", "same_pixels", "differs", "failed"]


class Verdict(Frozen):
    """What became of one image."""

    file: str
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    sha256: str | None = None
    kept: str | None = None
    """Where the new image lies."""


def compare(name: str, original: bytes, made: bytes, sha256: str) -> Verdict:
    """Compare two files: their bytes, then their pixels and what they record."""
    if original == made:
        return Verdict(file=name, outcome="equal", sha256=sha256)
    reasons = list(_recorded_differences(_record(original), _record(made)))
    apart = _pixels_apart(original, made)
    if apart is None:
        return Verdict(file=name, outcome="same_pixels", reasons=tuple(reasons), sha256=sha256)
    if not reasons:
        reasons = ["nothing recorded is different: another kind of processor, or a file that was changed"]
    return Verdict(file=name, outcome="differs", reasons=(apart, *reasons), sha256=sha256)


def _record(data: bytes) -> ImageRecord:
    return parse_record(read_texts(data).texts[OWN])


def _recorded_differences(original: ImageRecord, made: ImageRecord) -> Iterator[str]:
    """What the two records say differently, in words."""
    before, now = original.model_dump(mode="json"), made.model_dump(mode="json")
    old, new = _flat(before), _flat(now)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{name}: {_shown(old.get(name))} then, {_shown(new.get(name))} now"


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            found |= _flat(inner, f"{name}[{place}]")
    else:
        found[name] = value
    return found


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)[:100]


def _pixels_apart(original: bytes, made: bytes) -> str | None:
    """How far two pictures are apart, or None where every pixel is the same."""
    try:
        one, other = open_image(original, ImageLimits()), open_image(made, ImageLimits())
    except InvalidInput as error:
        return f"the original cannot be decoded: {error.message}"
    if one.size != other.size:
        return f"{one.width} x {one.height} pixels then, {other.width} x {other.height} now"
    bands = ImageChops.difference(one, other).split()
    most: Image.Image = bands[0]
    for band in bands[1:]:
        most = ImageChops.lighter(most, band)
    equal = most.histogram()[0]
    total = one.width * one.height
    if equal == total:
        return None
    return f"{(total - equal) / total:.1%} of the pixels differ, by {most.getextrema()[1]} of 255 at most"
