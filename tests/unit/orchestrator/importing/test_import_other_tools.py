"""Images of other tools: what has a field becomes one, everything else is named; nothing is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.rows import ROW_ADAPTER
from tests.unit.orchestrator.importing.imported_images import INFOTEXT, comfy, imported, jpeg, png


def test_a1111_in_png_and_jpeg(tmp_path: Path) -> None:
    files = (png(tmp_path / "00001-42.png", parameters=INFOTEXT), jpeg(tmp_path / "00001-42.jpg", INFOTEXT))
    rows, report = imported(*files)
    wanted = {
        "prompt": "a (red:1.2) fox, 夜",
        "negative_prompt": "blurry",
        "weighting": "a1111",
        "steps": 20,
        "guidance_scale": 7.0,
        "seed": 42,
        "model": "dreamshaper_8",
        "scheduler": "dpmpp_2m_karras",
        "width": 512,
        "height": 768,
        "clip_skip": 1,
    }
    assert rows == [
        {"id": "00001-42"} | wanted | {"imported_from": "00001-42.png"},
        {"id": "00001-42-2"} | wanted | {"imported_from": "00001-42.jpg"},
    ]
    assert report.tools == {"A1111": 2}
    assert {one.name: one.example for one in report.left_out} == {"Model hash": "abc", "VAE": "some.vae"}
    assert report.unknown_models == {"dreamshaper_8": 2}


@pytest.mark.parametrize(
    ("settings", "fields", "left"),
    [
        ("Sampler: Euler a", {"scheduler": "euler_a"}, {}),
        ("Sampler: DPM++ 2M, Schedule type: Automatic", {"scheduler": "dpmpp_2m_karras"}, {}),
        ("Sampler: DPM++ 2S a Karras", {}, {"sampler": "DPM++ 2S a Karras"}),
        ("Sampler: Euler, Schedule type: Align Your Steps", {}, {"sampler": "Euler Align Your Steps"}),
        ("Size: 500x768", {}, {"size": "500x768"}),
        ("Seed: -1", {}, {"Seed": "-1"}),
        ("Clip skip: 1", {}, {}),
        (
            "Denoising strength: 0.5, Hires upscale: 2",
            {},
            {"Denoising strength": "0.5", "Hires upscale": "2"},
        ),
    ],
)
def test_what_a_setting_of_a1111_becomes(
    settings: str, fields: dict[str, object], left: dict[str, str], tmp_path: Path
) -> None:
    rows, report = imported(png(tmp_path / "a.png", parameters=f"a cat\nSteps: 20, CFG scale: 7, {settings}, ENSD: 1"))
    assert rows[0] == {
        "id": "a",
        "prompt": "a cat",
        "steps": 20,
        "guidance_scale": 7.0,
        **fields,
        "imported_from": "a.png",
    }
    assert {one.name: one.example for one in report.left_out} == left | {"ENSD": "1"}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [("Denoising strength: 0.5", "img2img"), ("Denoising strength: 1, Mask blur: 4", "inpaint")],
)
def test_an_image_made_from_another_one_that_is_not_named_is_no_row(settings: str, reason: str, tmp_path: Path) -> None:
    rows, report = imported(
        png(tmp_path / "a.png", parameters=f"a\nSteps: 20, CFG scale: 7, Sampler: Euler, {settings}")
    )
    assert rows == []
    assert reason in report.findings[0].message


def test_comfyui(tmp_path: Path) -> None:
    rows, report = imported(png(tmp_path / "ComfyUI_00001_.png", **comfy()), models={"v1-5": "sd15"})
    assert rows == [
        {
            "id": "ComfyUI_00001",
            "prompt": "a lighthouse",
            "negative_prompt": "people",
            "scheduler": "dpmpp_2m_karras",
            "guidance_scale": 6.5,
            "steps": 25,
            "seed": 5,
            "model": "sd15",
            "width": 640,
            "height": 512,
            "imported_from": "ComfyUI_00001_.png",
        }
    ]
    assert (report.tools, report.unknown_models) == ({"ComfyUI": 1}, {})


def test_weights_are_read_as_the_tool_reads_them(tmp_path: Path) -> None:
    graph = comfy()["prompt"].replace("a lighthouse", "a (red:1.2) lighthouse [old]")
    rows, _ = imported(png(tmp_path / "a.png", prompt=graph))
    assert (rows[0]["weighting"], rows[0]["prompt"]) == ("a1111", "a (red:1.2) lighthouse \\[old\\]")
    text = {"positive_prompt": "a boat++", "scheduler": "euler", "model": {"model_name": "x"}}
    rows, _ = imported(png(tmp_path / "b.png", invokeai_metadata=json.dumps(text)))
    assert (rows[0]["weighting"], rows[0]["prompt"]) == ("compel", "a boat++")
    ours = (
        "a (red:1.2) fox\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7, Version: promptmill 0.1"
    )
    rows, _ = imported(png(tmp_path / "c.png", parameters=ours))
    assert ("weighting" in rows[0], rows[0]["scheduler"]) == (False, "dpmpp_2m")


def test_comfyui_through_its_api_where_the_image_has_no_workflow(tmp_path: Path) -> None:
    rows, _ = imported(png(tmp_path / "a.png", prompt=comfy()["prompt"]))
    assert (rows[0]["prompt"], rows[0]["negative_prompt"], rows[0]["width"]) == ("a lighthouse", "people", 640)


def test_a_comfyui_image_made_from_another_one_is_no_row(tmp_path: Path) -> None:
    rows, report = imported(png(tmp_path / "a.png", **comfy(denoise=0.6)))
    assert (rows, report.counts) == ([], {"not_taken": 1})


def test_invokeai(tmp_path: Path) -> None:
    text = {
        "generation_mode": "sdxl_txt2img",
        "positive_prompt": "a boat",
        "negative_prompt": "",
        "width": 1024,
        "height": 768,
        "seed": 7,
        "cfg_scale": 5.5,
        "steps": 30,
        "scheduler": "euler_a",
        "model": {"model_name": "our xl", "base_model": "sdxl"},
    }
    rows, report = imported(png(tmp_path / "a.png", invokeai_metadata=json.dumps(text)))
    assert rows[0]["scheduler"] == "euler_a"
    assert (rows[0]["prompt"], rows[0]["width"], rows[0]["seed"]) == ("a boat", 1024, 7)
    assert (report.tools, report.unknown_models) == ({"InvokeAI": 1}, {"our xl": 1})


def test_fooocus(tmp_path: Path) -> None:
    text = {
        "version": "Fooocus v2.1.862",
        "prompt": "a cat",
        "negative_prompt": "",
        "base_model": "juggernautXL",
        "base_model_hash": "d91d35736d",
        "resolution": "(1152, 896)",
        "guidance_scale": 7.0,
        "steps": 60,
        "seed": "12",
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "sharpness": 2.0,
    }
    rows, report = imported(png(tmp_path / "a.png", parameters=json.dumps(text)))
    assert (rows[0]["width"], rows[0]["height"], rows[0]["seed"]) == (1152, 896, 12)
    assert rows[0]["scheduler"] == "dpmpp_2m_sde_karras"
    assert "sharpness" in {one.name for one in report.left_out}


def test_novelai(tmp_path: Path) -> None:
    comment = {"steps": 28, "sampler": "k_euler_ancestral", "seed": 3, "scale": 11.0, "uc": "bad", "width": 512}
    texts = {
        "Title": "AI generated image",
        "Description": "a garden",
        "Software": "NovelAI",
        "Source": "Stable Diffusion 81274D13",
        "Comment": json.dumps(comment | {"height": 768}),
    }
    rows, report = imported(png(tmp_path / "a.png", **texts))
    assert (rows[0]["prompt"], rows[0]["negative_prompt"], rows[0]["steps"]) == ("a garden", "bad", 28)
    assert (rows[0]["scheduler"], rows[0]["height"], report.tools) == ("euler_a", 768, {"NovelAI": 1})


def test_every_row_is_one_that_the_schema_takes(tmp_path: Path) -> None:
    rows, _ = imported(png(tmp_path / "ä b.png", parameters=INFOTEXT), png(tmp_path / "b.png", **comfy()))
    assert len(rows) == 2
    for row in rows:
        ROW_ADAPTER.validate_python({"pipeline": "txt2img"} | {k: v for k, v in row.items() if k != "imported_from"})


def test_files_without_metadata_and_of_unknown_kind_are_named(tmp_path: Path) -> None:
    rows, report = imported(
        png(tmp_path / "bare.png"),
        png(tmp_path / "other.png", Comment="made with love"),
        png(tmp_path / "plain.png", parameters="a prompt alone"),
    )
    assert rows == []
    assert [(Path(found.file).name, found.kind) for found in report.findings] == [
        ("bare.png", "no_metadata"),
        ("other.png", "not_taken"),
        ("plain.png", "not_taken"),
    ]


@pytest.mark.parametrize(
    "texts",
    [
        {"promptmill": "{"},
        {"promptmill": "[" * 200_000},
        {"prompt": "[" * 200_000, "workflow": "{}"},
        {"prompt": json.dumps({"1": 7}), "workflow": json.dumps({"links": [[1]]})},
        {"invokeai_metadata": json.dumps({"scheduler": {"a": []}, "model": 5})},
        {"Dream": '"' * 1_000_000},
        {"parameters": '{"prompt": ' + "[" * 200_000},
        {"parameters": "x: 1, " * 200_000},
        {"sd__metadata": json.dumps({"image": {"prompt": 5, "sampler": 5}})},
    ],
)
def test_hostile_metadata_gives_a_message_and_no_traceback(texts: dict[str, str], tmp_path: Path) -> None:
    rows, report = imported(png(tmp_path / "a.png", **texts))
    assert rows == []
    assert sum(report.counts.values()) == 1


def test_folders_are_read_with_everything_in_them_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    png(tmp_path / "deep" / "er" / "b.PNG", parameters=INFOTEXT)
    png(tmp_path / ".hidden" / "c.png", parameters=INFOTEXT)
    (tmp_path / "metadata.jsonl").write_text("{}")
    (tmp_path / "broken.webp").write_bytes(b"RIFF")
    rows, report = imported(tmp_path)
    assert [row["id"] for row in rows] == ["b"]
    assert (report.files, report.counts) == (2, {"unreadable": 1})


@pytest.mark.parametrize(
    ("prompt", "version", "fields"),
    [
        ("a fox", "", {"prompt": "a fox"}),
        ("a [fox]", "", {"prompt": "a [fox]", "weighting": "a1111"}),
        ("a fox " * 20, "", {"prompt": ("a fox " * 20).strip(), "weighting": "a1111"}),
        ("a <lora:x:1> fox", "", {"prompt": "a <lora:x:1> fox", "weighting": "a1111"}),
        (
            "a (fox) <lora:x:0.5>",
            ", Version: promptmill 0.1.0",
            {"prompt": "a (fox)", "loras": [{"name": "x", "weight": 0.5}]},
        ),
        (
            "a (fox)1.2",
            ", Weighting: compel, Version: promptmill 0.1.0",
            {"prompt": "a (fox)1.2", "weighting": "compel"},
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_weights_and_loras_mean_what_they_meant_there(
    tmp_path: Path, prompt: str, version: str, fields: dict[str, Any]
) -> None:
    text = f"{prompt}\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1{version}"
    (row,), _ = imported(png(tmp_path / "a.png", parameters=text))
    names = ("prompt", "weighting", "loras")
    assert {name: row[name] for name in names if name in row} == fields


def test_a_model_that_no_catalogue_can_have_stands_in_a_column_of_its_own(tmp_path: Path) -> None:
    files = [
        png(tmp_path / "a.png", parameters="a cat\nSteps: 20, CFG scale: 7, Model: bad/name with spaces"),
        png(tmp_path / "b.png", parameters="a cat\nSteps: 20, CFG scale: 7, Model: sub/dreamshaper_8.safetensors"),
        png(tmp_path / "c.png", parameters=f"a cat\nSteps: 20, CFG scale: 7, Model: {'x' * 500}"),
    ]
    rows, report = imported(*files)
    assert [row.get("model") for row in rows] == [None, "dreamshaper_8", None]
    assert [row.get("imported_model") for row in rows] == ["bad/name with spaces", None, None]
    assert [one.name for one in report.left_out] == ["Model"]
    # What is asked for is what `--map-model` takes: the whole name, and the name without its folder as well.
    assert report.unknown_models == {"bad/name with spaces": 1, "sub/dreamshaper_8.safetensors": 1}
    for name in ("bad/name with spaces", "name with spaces"):
        rows, report = imported(files[0], models={name: "sd15"})
        assert (rows[0]["model"], report.unknown_models) == ("sd15", {})


def test_half_characters_that_json_can_name_are_written_as_such(tmp_path: Path) -> None:
    texts = comfy(strange="\ud800") | {"workflow": ""}
    texts["prompt"] = texts["prompt"].replace("v1-5", "\\ud800")
    rows, report = imported(png(tmp_path / "a.png", **{name: text for name, text in texts.items() if text}))
    assert rows[0]["imported_model"] == "sd/?.safetensors"
    assert all(json.dumps(one.model_dump()).isascii() for one in report.left_out)
    report.model_dump_json()
