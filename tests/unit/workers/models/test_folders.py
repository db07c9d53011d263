"""Reading a model's folder: what is chosen, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from model_folders import INDEX, write_model

from schemas.catalogue import ModelEntry
from schemas.errors import ModelUnavailable
from workers.models.folders import pick_weights, read_folder
from workers.models.inspection import inspect_model
from workers.models.sources import fetch


@pytest.mark.parametrize(
    ("names", "variant", "expected"),
    [
        (["model.safetensors", "model.fp16.safetensors", "model.bin"], None, ["model.safetensors"]),
        (["model.safetensors", "model.fp16.safetensors"], "fp16", ["model.fp16.safetensors"]),
        (["model.safetensors", "model.non_ema.safetensors"], "fp16", ["model.safetensors"]),
        (
            ["m.fp16-00001-of-00002.safetensors", "m.fp16-00002-of-00002.safetensors", "m.safetensors"],
            "fp16",
            ["m.fp16-00001-of-00002.safetensors", "m.fp16-00002-of-00002.safetensors"],
        ),
        (
            ["m-00002-of-00002.safetensors", "m-00001-of-00002.safetensors"],
            None,
            ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"],
        ),
        (["pytorch_model.bin"], None, []),
    ],
)
def test_which_weights(names: list[str], variant: str | None, expected: list[str]) -> None:
    assert pick_weights(names, variant) == expected


def test_a_folder(tmp_path: Path) -> None:
    folder = read_folder(write_model(tmp_path), variant="fp16")
    assert set(folder.components) == {"scheduler", "tokenizer", "unet", "vae"}
    assert folder.options == {"requires_safety_checker": False}
    assert folder.faults() == []
    assert (folder.used_variant("unet"), folder.used_variant("vae")) == ("fp16", None)
    assert folder.parameter_count("unet") == 100
    assert folder.weight_bytes("vae") > 20


def test_equal_components_are_known_across_folders(tmp_path: Path) -> None:
    one, other = write_model(tmp_path / "one"), write_model(tmp_path / "other")
    assert read_folder(one).identity("unet") != read_folder(other).identity("unet")
    # As in the hub's cache, where a file is a link to a blob named by its content.
    blob = tmp_path / "x" / "blobs" / "c0ffee"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"")
    for folder in (one, other):
        link = folder / "unet/diffusion_pytorch_model.safetensors"
        link.unlink()
        link.symlink_to(blob)
    assert read_folder(one).identity("unet") == read_folder(other).identity("unet")
    (one / "unet/config.json").write_text('{"another": 1}')
    assert read_folder(one).identity("unet") != read_folder(other).identity("unet")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"unet": ["my_code", "UNet"]}, r"unet is \['my_code', 'UNet'\], not a class of diffusers or transformers"),
        ({"_class_name": ["pipeline.py", "Mine"]}, "wants a pipeline of its own code, which is never run"),
        ({"unet": ["diffusers", "a.b"]}, "not a class of diffusers"),
        ({"../x": ["diffusers", "UNet2DConditionModel"]}, "a component whose name is none"),
    ],
)
def test_code_of_its_own_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    write_model(tmp_path, INDEX | change)
    with pytest.raises(ModelUnavailable, match=expected):
        read_folder(tmp_path)


@pytest.mark.parametrize(("content", "expected"), [("{", "Expecting"), ("[]", "not an object")])
def test_a_broken_index(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(ModelUnavailable, match=expected):
        read_folder(tmp_path)


def entry(source: Path | str, **fields: Any) -> ModelEntry:
    return ModelEntry.model_validate({"source": str(source), "family": "sd1", "pipelines": ["txt2img"], **fields})


def test_pickles_are_not_weights(tmp_path: Path) -> None:
    write_model(tmp_path)
    for file in (tmp_path / "unet").glob("*.safetensors"):
        file.unlink()
    expected = "model mine: .*: unet has no safetensors weights, and no others are read"
    with pytest.raises(ModelUnavailable, match=expected):
        fetch("mine", entry(tmp_path), tmp_path)
    report = inspect_model("mine", entry(tmp_path))
    assert (report.ready, report.sources[0].state, report.hint) == (False, "broken", "")


def test_several_sources(tmp_path: Path) -> None:
    base, own = write_model(tmp_path / "base"), tmp_path / "inpaint"
    write_model(own, {"_class_name": "StableDiffusionInpaintPipeline", "unet": INDEX["unet"]})
    model = entry(base, pipelines=["txt2img", "inpaint"], sources={"inpaint": str(own)})
    folders = fetch("mine", model, tmp_path)
    assert set(folders) == {str(base), str(own)}
    assert set(folders[model.source_of("inpaint")].components) == {"unet"}
    assert inspect_model("mine", model).ready


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    write_model(tmp_path, INDEX | {"text_encoder": ["transformers", "CLIPTextModel"]})
    with pytest.raises(ModelUnavailable, match="text_encoder is missing"):
        fetch("mine", entry(tmp_path), tmp_path)
    with pytest.raises(ModelUnavailable, match=r"has no model_index\.json"):
        fetch("mine", entry(tmp_path / "unet"), tmp_path)
    assert inspect_model("mine", entry(tmp_path / "no")).sources[0].state == "missing"


def test_unknown_builtins_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no built-in model 'large'"):
        fetch("mine", entry("builtin:large"), tmp_path)


def test_the_index_written_by_diffusers_reads(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps(INDEX))
    assert read_folder(tmp_path).faults() == [
        f"{name} is missing" for name in ("scheduler", "tokenizer", "unet", "vae")
    ]
