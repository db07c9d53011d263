"""The trained models as folders that diffusers and transformers load, float16 in safetensors.

`base/` is whole (txt2img and img2img). `inpaint/`, `upscale/` and `depth/` hold only what is their own; the text
encoder, the tokenizer and (but for the upscaler) the codec are those of `base/`, so that nothing is stored twice: see
`open_pipeline`.
`clip/` holds both towers for scoring.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
)
from torch import nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    DPTForDepthEstimation,
)

from models.training import data, depth, loop, unet, upscale

SHARED = {
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}
OWN: dict[str, tuple[type[DiffusionPipeline], dict[str, list[str]]]] = {
    "inpaint": (StableDiffusionInpaintPipeline, {}),
    "upscale": (StableDiffusionUpscalePipeline, {"low_res_scheduler": ["diffusers", "DDPMScheduler"]}),
    "depth": (
        StableDiffusionDepth2ImgPipeline,
        {
            "depth_estimator": ["transformers", "DPTForDepthEstimation"],
            "feature_extractor": ["transformers", "DPTImageProcessorPil"],
        },
    ),
}
UNUSED: dict[str, Any] = {"safety_checker": [None, None], "image_encoder": [None, None]}
KINDS: dict[str, tuple[str, type[DiffusionPipeline]]] = {
    "txt2img": ("base", StableDiffusionPipeline),
    "img2img": ("base", StableDiffusionImg2ImgPipeline),
    **{name: (name, own[0]) for name, own in OWN.items()},
}


def _save(module: nn.Module, folder: Path) -> None:
    """In float16; without the path that it was once loaded from."""
    copy.deepcopy(module).to("cpu").half().save_pretrained(folder)  # type: ignore[operator]
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if config.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(config, indent=2) + "\n")


def _index(folder: Path, kind: type[DiffusionPipeline], entries: dict[str, Any]) -> None:
    """`model_index.json`: which class loads which sub-folder."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"_class_name": kind.__name__, "_diffusers_version": diffusers.__version__, **entries}
    (folder / "model_index.json").write_text(json.dumps(whole, indent=2) + "\n")


def _loads_as_float32(folder: Path) -> None:
    """Have transformers load the stored float16 as float32 unless told otherwise, as diffusers does."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
        if "dtype" in part:
            part["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")


def text_tower(model: CLIPModel) -> CLIPTextModel:
    """The text half alone, as pipelines take it."""
    tower = CLIPTextModel(CLIPTextConfig(**model.config.text_config.to_dict()))
    wanted = tower.state_dict()
    have = {k.removeprefix("text_model."): v for k, v in model.text_model.state_dict().items()}
    tower.load_state_dict({k: have[k.removeprefix("text_model.")] for k in wanted})
    return tower


def export_base(out: Path, codec: nn.Module, model: CLIPModel, words: CLIPTokenizer, net: nn.Module) -> None:
    """Everything that txt2img and img2img need, and the two towers."""
    base = out / "base"
    entries: dict[str, Any] = {
        **SHARED,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    entries |= {**UNUSED, "feature_extractor": [None, None], "requires_safety_checker": False}
    _index(base, StableDiffusionPipeline, entries)
    _save(codec, base / "vae")
    _save(text_tower(model), base / "text_encoder")
    _loads_as_float32(base / "text_encoder")
    words.save_pretrained(base / "tokenizer")
    _save(net, base / "unet")
    unet.scheduler().save_pretrained(base / "scheduler")
    _save(model, out / "clip")
    _loads_as_float32(out / "clip")
    words.save_pretrained(out / "clip")
    side = {"height": data.SIZE, "width": data.SIZE}
    CLIPImageProcessorPil(
        size=side, crop_size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(out / "clip")  # fmt: skip


def export_own(out: Path, name: str, net: nn.Module, **parts: nn.Module) -> None:
    """What one of the other pipelines has of its own: its UNet and `parts`, by their names in the pipeline."""
    kind, more = OWN[name]
    folder = out / name
    entries: dict[str, Any] = {**SHARED, **more, "unet": ["diffusers", "UNet2DConditionModel"]}
    entries["scheduler"] = ["diffusers", "DDIMScheduler"]
    if name == "inpaint":
        entries |= {**UNUSED, "feature_extractor": [None, None], "requires_safety_checker": False}
    if name == "upscale":
        entries |= {"safety_checker": [None, None], "watermarker": [None, None], "feature_extractor": [None, None]}
        entries["max_noise_level"] = upscale.LEVELS
        upscale.low_scheduler().save_pretrained(folder / "low_res_scheduler")
    _index(folder, kind, entries)
    _save(net, folder / "unet")
    unet.scheduler().save_pretrained(folder / "scheduler")
    for part, module in parts.items():
        _save(module, folder / part)
    if "depth_estimator" in parts:
        _loads_as_float32(folder / "depth_estimator")
        depth.processor().save_pretrained(folder / "feature_extractor")


def open_pipeline(out: Path, name: str) -> DiffusionPipeline:
    """Any of KINDS, in float32; what it has not of its own is taken from `base/`."""
    folder, kind = KINDS[name]
    settings: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": torch.float32}
    if folder != "base":
        base = StableDiffusionPipeline.from_pretrained(out / "base", **settings)
        settings |= {part: getattr(base, part) for part in SHARED if not (out / folder / part).is_dir()}
    pipeline = kind.from_pretrained(out / folder, **settings)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def open_standing(out: Path) -> dict[str, Any]:
    """What further training takes as it is, by stage: frozen, in float32."""
    models: dict[str, nn.Module] = {
        "vae": AutoencoderKL.from_pretrained(out / "base" / "vae", local_files_only=True),
        "clip": CLIPModel.from_pretrained(out / "clip", local_files_only=True),
        "estimator": DPTForDepthEstimation.from_pretrained(out / "depth" / "depth_estimator", local_files_only=True),
        "fine": AutoencoderKL.from_pretrained(out / "upscale" / "vae", local_files_only=True),
        "upscale": unet.opened(out / "upscale" / "unet"),
    }
    for name, model in models.items():
        models[name] = model.float().requires_grad_(False).eval().to(loop.device())
    return {**models, "tokenizer": CLIPTokenizer.from_pretrained(out / "base" / "tokenizer", local_files_only=True)}


def open_schedule(out: Path) -> DDIMScheduler:
    """The shipped noise schedule."""
    return DDIMScheduler.from_pretrained(out / "base" / "scheduler")
