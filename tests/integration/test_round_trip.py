"""From a row to an image and back: the same row, and from it the same bytes."""

import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from schemas.rows import FIELD_NAMES, PIPELINES
from tests.integration.mill import FLAT, Mill

pytestmark = pytest.mark.integration

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
SMALL: dict[str, Any] = {"model": "tiny", "steps": 3, "guidance_scale": 5.5, "width": 64, "height": 48}
ROWS: list[dict[str, Any]] = [
    SMALL | {"id": "t", "prompt": '夜 a fox, "quoted"\nand more', "negative_prompt": "blurry", "num_images": 2},
    SMALL | {"id": "t-2", "prompt": "a fox", "scheduler": "euler_a", "clip_skip": 1, "format": "webp", "quality": 80},
    SMALL | {"id": "i", "pipeline": "img2img", "image": "house.png", "strength": 0.7, "format": "jpeg", "seed": 2**40},
    SMALL | {"id": "p", "pipeline": "inpaint", "image": "house.png", "mask": "house-sun-mask.png", "strength": 1},
    {"id": "u", "pipeline": "upscale", "image": "house-small.webp", "model": "tiny", "steps": 3, "noise_level": 30},
    {"id": "d", "pipeline": "depth2img", "image": "house.png", "model": "tiny", "steps": 3, "prompt": "a castle"},
]
CHAIN: dict[str, Any] = {
    "then": [
        {"pipeline": "inpaint", "mask": "house-sun-mask.png", "strength": 0.9},
        {"pipeline": "upscale", "steps": 2},
    ],
    "keep": "all",
}
ROWS.append(SMALL | {"id": "c", "prompt": "a boat", "height": 64} | CHAIN)
ROWS.append(
    SMALL
    | {"id": "w", "prompt": "a (red)1.4 tiny-word fox++", "weighting": "compel"}
    | {"loras": [{"name": "tiny-lora", "weight": 0.5}], "embeddings": ["tiny-word"]}
)


def images(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix[1:] in ("png", "jpg", "webp")
    }


def test_the_rows_of_the_round_trip_have_every_pipeline_and_field() -> None:
    assert {row.get("pipeline", "txt2img") for row in ROWS} == set(PIPELINES)
    assert {name for row in ROWS for name in row} == FIELD_NAMES - {"extra"}


@pytest.mark.engine
@pytest.mark.timeout(240)
def test_the_manifest_that_import_makes_of_an_exact_run_renders_the_same_bytes(mill: Mill) -> None:
    for path in INPUTS.iterdir():
        shutil.copy(path, mill.folder)
    mill.orchestrator()
    mill.worker(engine="diffusers", PROMPTMILL_WORKER__EXACT="true")
    mill.command("submit", str(mill.manifest(ROWS)), "--job-id", "first")
    assert mill.wait_for("first", seconds=150).done == len(ROWS)
    mill.command("fetch", "first")
    # The inputs come from the job: the manifest lies where the user's own files do not.
    (mill.folder / "elsewhere").mkdir()
    told = mill.command("import", "first", "--job", "first", "-o", "elsewhere/again.jsonl")
    assert "8 rows, 9 images" in told.stderr
    mill.command("submit", "elsewhere/again.jsonl", "--job-id", "second")
    assert mill.wait_for("second", seconds=60).done == len(ROWS)
    mill.command("fetch", "second")
    first, second = images(mill.folder / "first"), images(mill.folder / "second")
    assert len(first) == 9 + 2  # and those of the chain's earlier stages
    assert first == second
    # And the rows as planned are the same ones, of which the second manifest says everything.
    lines = [json.loads(line) for line in (mill.folder / "elsewhere" / "again.jsonl").read_text().splitlines()]
    assert {line["id"]: line["seed"] for line in lines} == {row["id"]: row["seed"] for row in mill.table("first")} | {
        "t": min(row["seed"] for row in mill.table("first") if row["id"] == "t")
    }


@pytest.mark.engine
@pytest.mark.timeout(240)
def test_rerender_makes_the_same_bytes_of_an_image_alone(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(engine="diffusers", OMP_NUM_THREADS="1")
    rows = [SMALL | {"id": f"row-{number}", "prompt": f"picture {number}", "num_images": 2} for number in range(3)]
    mill.submit(rows, "batched")
    assert mill.wait_for("batched", seconds=100).done == 3
    mill.command("fetch", "batched")
    found = mill.command("rerender", "batched/row-1-1.png", "-o", "again", "--json")
    (verdict,) = json.loads(found.stdout)
    assert (verdict["outcome"], verdict["reasons"]) == ("equal", [])
    assert (mill.folder / "again" / "row-1-1.png").read_bytes() == (
        mill.folder / "batched" / "row-1-1.png"
    ).read_bytes()


def test_rerender_tells_of_each_image_what_became_of_it(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker()
    mill.submit([{"id": f"r{number}", "prompt": f"picture {number}", "num_images": 5} for number in range(4)], "flat")
    mill.wait_for("flat")
    mill.command("fetch", "flat")
    (mill.folder / "foreign.png").write_bytes(
        images(mill.folder / "flat")["r0-0.png"].replace(b"tEXtpromptmill", b"tEXtpromptmull")
    )
    other = images(mill.folder / "flat")["r2-4.png"].replace(b'"device":"none"', b'"device":"nine"')
    (mill.folder / "other.png").write_bytes(with_checksums(other))
    flat = {"PROMPTMILL_WORKER__ENGINE": FLAT}
    named = ("--job", "flat", "r1", "flat/r2-4.png", "other.png", "foreign.png")
    refused = mill.command("rerender", *named, "-o", "flat", check=False, **flat)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is one of the images to compare with" in refused.stderr
    told = mill.command("rerender", *named, "-o", "again", check=False, **flat)
    assert told.returncode == 1
    assert [line for line in told.stdout.splitlines() if not line.startswith("  ")] == [
        "flat/r2-4.png: bit-equal, kept as again/r2-4.png",
        "other.png: the same pixels; the file's text differs, kept as again/r2-4-2.png",
        "foreign.png: not rendered",
        *(f"flat/r1/{number}.png: bit-equal, kept as again/r1-{number}.png" for number in range(5)),
    ]
    assert images(mill.folder / "again")["r2-4.png"] == images(mill.folder / "flat")["r2-4.png"]
    assert len(images(mill.folder / "again")) == 7
    assert "  render.device: nine then, none now" in told.stdout


def with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have their checksums again."""
    made, place = data[:8], 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        body = data[place + 4 : place + 8 + length]
        made += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return made
