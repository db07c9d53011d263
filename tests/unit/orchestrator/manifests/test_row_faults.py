"""Values of rows: pipelines, defaults, and what a fault says."""

import json
from typing import Any

import pytest
from manifest_files import Reader

from schemas.rows import MAX_SEED, Img2Img, PipelineName, Txt2Img, Upscale


def line(**values: Any) -> str:
    return json.dumps(values) + "\n"


def test_a_row_without_pipeline_is_txt2img(manifest: Reader) -> None:
    assert isinstance(manifest("a.jsonl", line(prompt="a")).rows[0].row, Txt2Img)


def test_a_row_with_an_input_image_must_say_its_pipeline(manifest: Reader) -> None:
    content = line(prompt="a", image="a.png") + line(prompt="a", mask="a.png")
    found = manifest("a.jsonl", content)
    expected = "pipeline: a row with an input image must say which: img2img, inpaint, upscale, depth2img"
    assert found.texts == [f"line 1, {expected}", f"line 2, {expected}"]
    assert manifest("a.jsonl", line(prompt="a"), defaults={"model": "m", "image": "x.png"}).texts == [
        f"line 1, {expected}"
    ]


def test_the_job_can_say_the_pipeline_for_all_rows_and_a_row_wins(manifest: Reader) -> None:
    defaults = {"model": "m", "pipeline": "img2img", "strength": 0.5}
    found = manifest("a.jsonl", line(image="a.png") + line(prompt="b", pipeline="txt2img"), defaults=defaults)
    first, second = (row.row for row in found.rows)
    assert isinstance(first, Img2Img)
    assert first.strength == 0.5
    assert isinstance(second, Txt2Img)


def test_a_default_is_ignored_where_the_pipeline_does_not_take_it(manifest: Reader) -> None:
    content = line(prompt="a") + line(pipeline="upscale", image="a.png")
    found = manifest("a.jsonl", content, defaults={"model": "m", "strength": 0.5, "width": 64, "noise_level": 7})
    assert not found.texts
    first, second = (row.row for row in found.rows)
    assert isinstance(first, Txt2Img)
    assert first.width == 64
    assert isinstance(second, Upscale)
    assert second.noise_level == 7


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"width": 513}, "width = 513: must be a multiple of 8: 512 or 520"),
        ({"height": "513"}, "height = 513: must be a multiple of 8: 512 or 520"),
        ({"width": 9000}, "width = 9000: expected a whole number from 8 to 8,192, a multiple of 8"),
        ({"steps": 0}, "steps = 0: expected a whole number from 1 to 1,000"),
        ({"steps": 30.5}, "steps = 30.5: expected a whole number from 1 to 1,000"),
        ({"steps": "thirty"}, "steps = thirty: expected a whole number from 1 to 1,000"),
        ({"steps": [30]}, "steps = a list: expected a whole number from 1 to 1,000"),
        ({"seed": -2}, f"seed = -2: expected a whole number from 0 to {MAX_SEED:,}"),
        ({"guidance_scale": "nan"}, "guidance_scale = nan: expected a number from 0 to 100"),
        ({"num_images": 101}, "num_images = 101: expected a whole number from 1 to 100"),
        ({"scheduler": "euler_b"}, "scheduler = euler_b: did you mean euler_"),
        ({"scheduler": 3}, "scheduler = 3: expected one of euler, euler_a, "),
        ({"scheduler": "zzzzzz"}, "scheduler = zzzzzz: expected one of euler, euler_a, "),
        ({"format": "gif"}, "format = gif: expected one of png, jpeg, webp"),
        ({"model": "a/b"}, "model = a/b: expected an alias from the catalogue"),
        ({"prompt": ""}, "prompt: must not be empty"),
        ({"prompt": " \n"}, "prompt =  \\n: must not be empty"),
        ({"prompt": None}, "prompt: txt2img needs a prompt: name its column prompt, or --map prompt=COLUMN"),
        ({"prompt": 7}, "prompt = 7: expected text, 20,000 characters at most"),
        ({"prompt": "x" * 20_001}, "…: expected at most 20,000 characters, found 20,001"),
        (
            {"strength": 0.5},
            "strength = 0.5: strength does not apply to txt2img: it is for img2img, inpaint, depth2img",
        ),
        ({"mask": "a.png", "pipeline": "img2img", "image": "b"}, "mask = a.png: mask does not apply to img2img"),
        ({"width": 64, "pipeline": "upscale", "image": "b"}, "width does not apply to upscale: its output's size"),
        ({"pipeline": "img2img"}, "image: img2img needs an image"),
        ({"pipeline": "inpaint", "image": "b"}, "mask: inpaint needs a mask"),
        ({"pipeline": "img2img", "image": "b", "strength": 0}, "strength = 0: expected a number above 0 to 1"),
        ({"pipeline": "imgtoimg"}, "pipeline = imgtoimg: did you mean img2img? expected one of txt2img, "),
        ({"pipeline": ["txt2img"]}, "pipeline = a list: expected one of txt2img, "),
        ({"pipeline": True}, "pipeline = true: expected one of txt2img, "),
        ({"id": "../x"}, "id = ../x: expected a name of letters, digits, spaces and "),
        ({"id": "a/b"}, "id = a/b: expected a name"),
        ({"id": "a\x1b[2J"}, "id = a\\x1b[2J: expected a name"),
        ({"id": ".hidden"}, "id = .hidden: expected a name"),
        ({"id": "ends."}, "id = ends.: expected a name"),
        ({"id": "x" * 121}, "…: expected at most 120 characters, found 121"),
        ({"pipeline": "img2img", "image": "http://x/a.png"}, "of the web only https:// (in small letters) is read"),
        ({"pipeline": "img2img", "image": "HTTPS://x/a.png"}, "where inputs.https is on: download it first"),
        (
            {"pipeline": "img2img", "image": "data:image/png;base64,x"},
            "expected a file, s3://bucket/key or https://host/path",
        ),
        ({"pipeline": "img2img", "image": "s3://bucket"}, "image = s3://bucket: expected s3://bucket/key"),
        ({"pipeline": "inpaint", "image": "s3://bucket/k", "mask": "ftp://x/y"}, "mask = ftp://x/y: expected a file"),
    ],
)
def test_a_fault_names_line_field_value_and_what_was_expected(
    manifest: Reader, values: dict[str, Any], fault: str
) -> None:
    found = manifest("a.jsonl", line(prompt="fine") + line(**({"prompt": "a"} | values)))
    assert found.texts[0].startswith("line 2, ")
    assert fault in found.texts[0]
    assert found.faults.total == 1
    assert "type=" not in found.texts[0]
    assert "txt2img." not in found.texts[0]


def test_all_faults_of_a_row_are_told(manifest: Reader) -> None:
    found = manifest("a.jsonl", line(prompt="a", width=513, steps=0, strength=2, cfg_sacle=99999))
    assert [fault.field for fault in found.faults.kept] == ["cfg_sacle", "steps", "guidance_scale", "width", "strength"]


def test_a_likely_prompt_column_is_named(manifest: Reader) -> None:
    assert "is it --map prompt=caption?" in manifest("a.jsonl", line(caption="a")).texts[0]


def test_a_row_needs_a_model_from_somewhere(manifest: Reader) -> None:
    found = manifest("a.jsonl", line(prompt="a") + line(prompt="a", model="m"), defaults={})
    assert found.texts == ["line 1, model: no model: give it in the row, or --set model=ALIAS"]


def test_the_catalogue_is_asked_once_for_each_model_and_pipeline(manifest: Reader) -> None:
    asked = []

    def check_model(model: str, pipeline: PipelineName) -> str | None:
        asked.append((model, pipeline))
        return "no such model; did you mean tiny?" if model == "tinny" else None

    content = (line(prompt="a", model="tinny") + line(prompt="a") + line(pipeline="upscale", image="a.png")) * 3
    found = manifest("a.jsonl", content, check_model=check_model)
    assert asked == [("tinny", "txt2img"), ("tiny", "txt2img"), ("tiny", "upscale")]
    assert found.texts[0] == "line 1, model = tinny: no such model; did you mean tiny?"
    assert (found.faults.total, len(found.rows)) == (3, 6)


def test_blanks_around_the_cells_of_a_handwritten_csv_do_no_harm_but_a_prompt_keeps_its_own(manifest: Reader) -> None:
    found = manifest("a.csv", "id, prompt, scheduler, steps\n x1 , a cat , euler , 3 \n")
    row = found.rows[0].row
    assert (row.id, row.prompt, row.scheduler, row.steps) == ("x1", " a cat ", "euler", 3)
