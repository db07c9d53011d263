"""Files with their metadata, read back by our reader and by the rules of others."""

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from schemas.errors import InvalidInput
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from services.image_metadata.carriers import JPEG_SEGMENT, read
from services.image_metadata.infotext import CUT_MARK, infotext
from services.image_metadata.record import ImageRecord, image_record, planned_row
from workers.encoding import encode

FORMATS = ["png", "jpeg", "webp"]
PROMPTS = {
    "latin": "a cat, é, ÿ: on a mat",
    "japanese": "夜の港、雨に濡れた石畳",
    "emoji": "🐈‍⬛ 🧶 𝔘",
    "newlines": "one\n\ntwo\r\nthree",
    "quoting": 'say "hi", {"a": "b\\n"}: \\ \x00 end',
    "looks like settings": "Negative prompt: x\nSteps: 20, Sampler: Euler, Seed: 1, CFG scale: 7",
    "4,000 characters": "猫と🐈," * 1000,
}


def pixels(width: int = 24, height: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def planned(**changes: Any) -> PlannedRow:
    values: dict[str, Any] = {
        "index": 0,
        "id": "a",
        "pipeline": "txt2img",
        "model": "tiny",
        "prompt": "a cat",
        "width": 24,
        "height": 16,
        "steps": 4,
        "guidance_scale": 7.5,
        "seed": 5,
        "scheduler": "euler",
    }
    return PlannedRow.model_validate(values | changes)


def record(row: PlannedRow) -> ImageRecord:
    render = RenderInfo(
        device="cpu", dtype="float32", versions={"torch": "2"}, model_source="m", model_revision=None, safety="keep"
    )
    return image_record(
        row,
        number=0,
        seed=row.seed,
        width=24,
        height=16,
        batch_size=1,
        slot=0,
        inputs={},
        render=render,
        version="0.1.0",
    )


def infotext_of(row: PlannedRow) -> str:
    return infotext(row, seed=row.seed, width=24, height=16, version="0.1.0")


def others_read(data: bytes) -> str:
    """As A1111, Civitai and sd-parsers do: `parameters`, or UserComment from its ninth byte on as UTF-16BE."""
    with Image.open(io.BytesIO(data)) as image:
        if image.format == "PNG":
            return str(image.info["parameters"])
        comment = image.getexif().get_ifd(0x8769)[0x9286]
        assert comment[:8] == b"UNICODE\0"
        return str(comment[8:].decode("utf_16_be"))


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_metadata_reads_back_exactly(file_format: str, prompt: str) -> None:
    row = planned(format=file_format, prompt=prompt, negative_prompt=prompt[::-1])
    data = encode(pixels(), row, record(row))
    found = read(data)
    assert found.record is not None
    assert found.record == record(row)
    assert planned_row(found.record) == row
    assert found.infotext == infotext_of(row)
    assert others_read(data) == infotext_of(row)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("letter", ["x", "猫", "🐈"])
def test_the_longest_prompts_keep_our_own_key_whole(file_format: str, letter: str) -> None:
    row = planned(format=file_format, prompt=letter * 20_000, negative_prompt="悪" * 20_000)
    data = encode(pixels(), row, record(row))
    found = read(data)
    assert found.record is not None
    assert planned_row(found.record) == row
    assert found.infotext is not None
    assert found.infotext == others_read(data)
    whole = found.infotext == infotext_of(row)
    assert whole or (file_format == "jpeg" and found.infotext.endswith(CUT_MARK))
    assert np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).shape == (16, 24, 3)


def test_a_jpeg_whose_texts_only_fit_apart_cuts_neither() -> None:
    row = planned(format="jpeg", prompt="a" * 18_000, negative_prompt="b" * 10_000)
    found = read(encode(pixels(), row, record(row)))
    assert found.infotext == infotext_of(row)
    assert found.record == record(row)


@pytest.mark.parametrize("size", range(JPEG_SEGMENT // 2 - 400, JPEG_SEGMENT // 2 - 150, 10))
def test_a_jpeg_at_the_limit_of_a_segment_is_written(size: int) -> None:
    row = planned(format="jpeg", prompt="a" * 16_000, negative_prompt="b" * (size - 16_000))
    assert read(encode(pixels(), row, record(row))).record == record(row)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_recipe_gives_the_same_bytes(file_format: str) -> None:
    row = planned(format=file_format, extra={"note": 1})
    other = row.model_copy(update={"index": 5, "extra": {}})
    assert encode(pixels(), row, record(row)) == encode(pixels(), other, record(other))


@pytest.mark.parametrize("file_format", ["png", "webp"])
def test_lossless_formats_keep_every_pixel(file_format: str) -> None:
    row = planned(format=file_format)
    with Image.open(io.BytesIO(encode(pixels(), row, record(row)))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels())


def test_jpeg_has_full_colour_resolution_and_quality_decides_its_size() -> None:
    sizes = []
    for quality in (30, None, 100):
        row = planned(format="jpeg", quality=quality)
        data = encode(pixels(64, 64), row, record(row))
        with Image.open(io.BytesIO(data)) as image:
            assert [part[1:3] for part in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
        sizes.append(len(data))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_webp_with_a_quality_is_lossy() -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    row = planned(format="webp", quality=50)
    data = encode(smooth, row, record(row))
    assert b"VP8 " in data
    assert b"VP8L" not in data


def test_never_the_keys_of_others() -> None:
    row = planned()
    with Image.open(io.BytesIO(encode(pixels(), row, record(row)))) as image:
        assert set(image.text) == {"parameters", "promptmill"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("file_format", "side"), [("webp", 16_384), ("jpeg", 65_501)])
def test_a_format_too_small_for_the_image_is_named(file_format: str, side: int) -> None:
    row = planned(format=file_format)
    with pytest.raises(InvalidInput, match=f"{file_format} holds at most"):
        encode(np.zeros((1, side, 3), dtype=np.uint8), row, record(row))


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (1, 4, 4, 3)])
def test_pixels_of_another_shape_are_a_mistake_of_ours(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        encode(np.zeros(shape, dtype=np.uint8), planned(), record(planned()))
