"""Local input images of rows."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.manifests import Faults, InputImages, ManifestOptions, RowInputs, read
from orchestrator.manifests import inputs as inputs_module
from services.input_images import ImageFacts, ImageLimits, check_local_image


def attach(folder: Path, rows: list[dict[str, Any]], **kwargs: Any) -> tuple[list[RowInputs], list[str]]:
    path = folder / "a.jsonl"
    path.write_text("\n".join(json.dumps({"model": "m"} | row) for row in rows))
    faults = Faults()
    images = InputImages(kwargs.pop("base", folder), ImageLimits(**kwargs))
    found = list(images.attach(read(path, ManifestOptions(), faults), faults))
    return found, [str(fault) for fault in faults.kept]


def picture(path: Path, size: tuple[int, int] = (64, 48), colour: str = "red") -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def img2img(image: str, **values: Any) -> dict[str, Any]:
    return {"pipeline": "img2img", "image": image} | values


def test_addresses_are_relative_to_the_manifests_folder_or_absolute(tmp_path: Path) -> None:
    path = picture(tmp_path / "in" / "a.png")
    found, faults = attach(tmp_path, [img2img("in/a.png"), img2img(str(path))])
    assert not faults
    assert [row.image.path for row in found if row.image] == [path, path]
    assert [row.image.facts.size for row in found if row.image] == [(64, 48)] * 2


def test_rows_keep_their_order_and_rows_without_inputs_have_none(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows = [{"prompt": "x"}, img2img("a.png"), {"prompt": "y"}, img2img("s3://bucket/key.png"), {"prompt": "z"}] * 100
    found, faults = attach(tmp_path, rows)
    assert not faults
    assert [row.authored.position for row in found] == list(range(500))
    assert [row.image is not None for row in found[:5]] == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (img2img("missing.png"), "line 2, image = missing.png: no such file: "),
        (img2img("."), "line 2, image = .: a folder, not an image"),
        (img2img("text.png"), "line 2, image = text.png: a text file, not an image that can be used"),
        (img2img("a\0b.png"), "line 2, image = a\\x00b.png: "),
        (img2img("x" * 2000), "line 2, image = xxx"),
        (
            {"pipeline": "inpaint", "image": "a.png", "mask": "b.png"},
            "line 2, mask = b.png: the mask is 32 x 32 pixels, its image 64 x 48",
        ),
        ({"pipeline": "inpaint", "image": "a.png", "mask": "no.png"}, "line 2, mask = no.png: no such file"),
    ],
)
def test_an_input_that_cannot_be_used_is_a_fault_of_its_line(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", (32, 32))
    (tmp_path / "text.png").write_text("I am no image")
    found, faults = attach(tmp_path, [img2img("a.png"), row, img2img("a.png")])
    assert [row.authored.line for row in found] == [1, 3]
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_faults_of_image_and_mask_are_both_told(tmp_path: Path) -> None:
    _, faults = attach(tmp_path, [{"pipeline": "inpaint", "image": "a.png", "mask": "b.png"}])
    assert len(faults) == 2


def test_limits_are_the_callers(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert "64 x 48 pixels; at most 3,000" in attach(tmp_path, [img2img("a.png")], max_pixels=3000)[1][0]
    assert "bytes; at most 50 are accepted" in attach(tmp_path, [img2img("a.png")], max_bytes=50)[1][0]


def test_a_file_that_many_rows_name_is_read_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "a.png")
    read_files = []

    def counting(path: Path, limits: ImageLimits) -> ImageFacts:
        read_files.append(path)
        return check_local_image(path, limits)

    monkeypatch.setattr(inputs_module, "check_local_image", counting)
    manifest = tmp_path / "a.jsonl"
    manifest.write_text("\n".join(json.dumps(img2img("a.png", model="m")) for _ in range(1000)))
    images, faults = InputImages(tmp_path, ImageLimits()), Faults()

    def sizes() -> set[tuple[int, int]]:
        rows = images.attach(read(manifest, ManifestOptions(), faults), faults)
        return {row.image.facts.size for row in rows if row.image}

    assert sizes() == {(64, 48)}
    assert len(read_files) == 1
    picture(path, (80, 80), "blue")
    os.utime(path, ns=(1, 1))
    assert sizes() == {(80, 80)}
    assert len(read_files) == 2


def test_memory_for_known_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "_MOST_REMEMBERED", 10)
    for number in range(30):
        picture(tmp_path / f"{number}.png", (8, 8))
    manifest = tmp_path / "a.jsonl"
    manifest.write_text("\n".join(json.dumps(img2img(f"{number}.png", model="m")) for number in range(30)))
    images, faults = InputImages(tmp_path, ImageLimits()), Faults()
    assert len(list(images.attach(read(manifest, ManifestOptions(), faults), faults))) == 30
    assert len(images._known) == 10
