"""Two files are bit-equal, or the verdict says how far apart they are and what was different."""

import io
from typing import Any

from PIL import Image

from orchestrator.rerender.comparing import compare
from services.image_metadata.carriers import png_chunks
from services.image_metadata.record import format_record, image_record
from tests.unit.orchestrator.importing.imported_images import RENDER, planned


def image(colour: int = 10, spot: int | None = None, size: int = 10, **changes: Any) -> bytes:
    row = planned()
    values: dict[str, Any] = {"batch_size": 1, "slot": 0, "render": RENDER, "version": "0.1.0"} | changes
    record = image_record(row, number=0, seed=row.seed, width=size, height=size, inputs={}, **values)
    picture = Image.new("RGB", (size, size), (colour, colour, colour))
    if spot is not None:
        picture.putpixel((0, 0), (colour, spot, colour))
    file = io.BytesIO()
    picture.save(file, format="PNG", pnginfo=png_chunks("text", format_record(record)))
    return file.getvalue()


def test_the_same_bytes() -> None:
    verdict = compare("a.png", image(), image(), "hash")
    assert (verdict.outcome, verdict.reasons) == ("equal", ())


def test_the_same_pixels_under_another_version() -> None:
    verdict = compare("a.png", image(), image(version="0.2.0"), "hash")
    assert (verdict.outcome, verdict.reasons) == ("same_pixels", ("promptmill: 0.1.0 then, 0.2.0 now",))


def test_other_pixels_and_why() -> None:
    render = RENDER.model_copy(update={"device": "NVIDIA H100", "versions": {"torch": "2.13.0"}})
    verdict = compare("a.png", image(), image(spot=14, batch_size=4, slot=2, render=render), "hash")
    assert verdict.outcome == "differs"
    assert verdict.reasons == (
        "1.0% of the pixels differ, by 4 of 255 at most",
        "batch_size: 1 then, 4 now",
        "render.device: cpu (1 threads) then, NVIDIA H100 now",
        "render.versions.torch: none then, 2.13.0 now",
        "slot: 0 then, 2 now",
    )


def test_other_pixels_and_nothing_that_explains_them() -> None:
    verdict = compare("a.png", image(), image(colour=11), "hash")
    assert verdict.reasons[0].startswith("100.0% of the pixels")
    assert "nothing recorded is different" in verdict.reasons[1]


def test_another_size() -> None:
    assert compare("a.png", image(), image(size=12), "hash").reasons[0] == "10 x 10 pixels then, 12 x 12 now"


def test_an_original_that_cannot_be_decoded_any_more() -> None:
    data = image()
    broken = data[: data.index(b"IDAT") + 8]
    assert "cannot be decoded" in compare("a.png", broken, data, "hash").reasons[0]
