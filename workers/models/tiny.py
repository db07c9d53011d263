"""The built-in models: Stable Diffusion's architectures at a few hundred KB, made locally by code.

Random weights, so the pictures are noise; everything else is real: tokenizer, text encoders, VAE, UNets,
depth estimator and safety checker are the classes of transformers and diffusers, in their file format. Each
tensor is drawn by a generator seeded with its model's and its own name: the same bytes on every machine.

| model   | like                            | folders                                                          |
|---------|---------------------------------|------------------------------------------------------------------|
| tiny    | SD 1: epsilon, safety checker   | base, inpaint (9 channels), upscale (x4, noise level), depth      |
| tiny-2  | SD 2 at 768: v-prediction       | the same, without a safety checker                               |
| tiny-xl | SDXL: two text encoders         | base, inpaint (9 channels)                                       |

Latents are 8 times smaller than the picture (4 times in upscale); the native size is 64 x 64 pixels. A folder
other than base holds only what differs; the rest comes from base.
"""

import json
import math
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from workers.models.byte_tokenizer import BEGIN, END, VOCABULARY, save_byte_tokenizer
from workers.models.libraries import diffusers, library_class, transformers

# Part of the folder's name in the cache: raise it with every change of what is built here.
RECIPE = 4
NAMES = ("tiny", "tiny-2", "tiny-xl")

WIDTH = 16  # of text states
_POOLED = 16  # of tiny-xl's pooled text state
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_CLIP_MEAN, _CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def build(name: str, root: Path) -> None:
    """Write all folders of one built-in model under `root` (which exists and is empty).

    Raises:
        KeyError: no such built-in model.
    """
    if name not in NAMES:
        raise KeyError(name)
    _base(name, root / "base")
    _inpaint(name, root / "inpaint")
    if name != "tiny-xl":
        _upscale(name, root / "upscale")
        _depth(name, root / "depth")


def _base(name: str, folder: Path) -> None:
    parts: dict[str, Any] = {"vae": _vae(8), "unet": _unet(name, 4), "text_encoder": _text_encoder(name)}
    index = {
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", type(_scheduler(name)).__name__],
    }
    save_byte_tokenizer(folder / "tokenizer")
    _scheduler(name).save_pretrained(folder / "scheduler")
    if name == "tiny-xl":
        parts["text_encoder_2"] = _text_encoder_2()
        save_byte_tokenizer(folder / "tokenizer_2")
        index["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
        index["tokenizer_2"] = ["transformers", "CLIPTokenizer"]
        _save(name, folder, parts, index, "StableDiffusionXLPipeline", force_zeros_for_empty_prompt=True)
        return
    optional: dict[str, Any] = {"safety_checker": [None, None], "feature_extractor": [None, None]}
    if name == "tiny":
        parts["safety_checker"] = _safety_checker()
        optional["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
        optional["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
        _image_processor(folder / "feature_extractor", "CLIPImageProcessor")
    _save(name, folder, parts, index | optional, "StableDiffusionPipeline", requires_safety_checker=name == "tiny")


def _inpaint(name: str, folder: Path) -> None:
    pipeline = "StableDiffusionXLInpaintPipeline" if name == "tiny-xl" else "StableDiffusionInpaintPipeline"
    _save(name, folder, {"unet": _unet(name, 9)}, {"unet": ["diffusers", "UNet2DConditionModel"]}, pipeline)


def _upscale(name: str, folder: Path) -> None:
    # As the x4 upscaler: 4 latent and 3 picture channels, the noise level as a class, a VAE of factor 4.
    # Latents have the size of the input, so attention among them all happens in the middle only, as there.
    vae = _vae(4, scaling_factor=0.08333, mid_block_add_attention=False)
    unet = _unet(
        name,
        7,
        num_class_embeds=1000,
        block_out_channels=(8, 16, 16),
        only_cross_attention=True,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    low_res = diffusers.DDPMScheduler(**{**_BETAS, "beta_start": 0.0001, "beta_end": 0.02})
    low_res.save_pretrained(folder / "low_res_scheduler")
    index = {
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "low_res_scheduler": ["diffusers", "DDPMScheduler"],
    }
    _save(name, folder, {"vae": vae, "unet": unet}, index, "StableDiffusionUpscalePipeline", max_noise_level=350)


def _depth(name: str, folder: Path) -> None:
    index = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "depth_estimator": ["transformers", "DPTForDepthEstimation"],
        "feature_extractor": ["transformers", "DPTImageProcessor"],
    }
    _image_processor(folder / "feature_extractor", "DPTImageProcessor")
    parts = {"unet": _unet(name, 5), "depth_estimator": _depth_estimator()}
    _save(name, folder, parts, index, "StableDiffusionDepth2ImgPipeline")


def make_unet(name: str) -> Any:
    """The UNet of a model's base folder, its weights not drawn yet."""
    return _unet(name, 4)


def make_text_encoder(name: str, *, second: bool = False) -> Any:
    """A text encoder of a model, its weights not drawn yet."""
    return _text_encoder_2() if second else _text_encoder(name)


def _scheduler(name: str) -> Any:
    if name == "tiny":
        return diffusers.PNDMScheduler(**_BETAS, skip_prk_steps=True, steps_offset=1)
    if name == "tiny-2":
        return diffusers.DDIMScheduler(
            **_BETAS, prediction_type="v_prediction", steps_offset=1, clip_sample=False, set_alpha_to_one=False
        )
    return diffusers.EulerDiscreteScheduler(
        **_BETAS, steps_offset=1, timestep_spacing="leading", interpolation_type="linear"
    )


def _unet(name: str, channels: int, **extra: Any) -> Any:
    if name == "tiny-xl":
        extra |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 6 * 4 + _POOLED,
            "cross_attention_dim": 2 * WIDTH,
        }
    return diffusers.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "in_channels": channels,
            "out_channels": 4,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": WIDTH,
            "attention_head_dim": 4,
            "use_linear_projection": name != "tiny",
            # Attention on the way down and in the middle only: half of the blocks that cost the time.
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D"),
            **extra,
        }
    )


def _vae(factor: int, **extra: Any) -> Any:
    levels = int(math.log2(factor)) + 1
    return diffusers.AutoencoderKL(
        latent_channels=4,
        block_out_channels=(4, 8, 8, 8)[:levels],
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        **extra,
    )


def _text_config(activation: str) -> Any:
    return transformers.CLIPTextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=_POOLED,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        hidden_act=activation,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=END,
    )


def _text_encoder(name: str) -> Any:
    return transformers.CLIPTextModel(_text_config("gelu" if name == "tiny-2" else "quick_gelu"))


def _text_encoder_2() -> Any:
    return transformers.CLIPTextModelWithProjection(_text_config("gelu"))


def _vision_config() -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }


def _safety_checker() -> Any:
    checker = library_class("stable_diffusion", "StableDiffusionSafetyChecker")
    return checker(transformers.CLIPConfig(vision_config=_vision_config(), projection_dim=8))


def _depth_estimator() -> Any:
    return transformers.DPTForDepthEstimation(
        transformers.DPTConfig(
            **_vision_config() | {"num_hidden_layers": 4},
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[4, 4, 8, 8],
            fusion_hidden_size=8,
        )
    )


def _image_processor(folder: Path, kind: str) -> None:
    # Written by hand: save_pretrained would write the name of whichever backend this machine has.
    size: dict[str, int] = {"shortest_edge": 32} if kind == "CLIPImageProcessor" else {"height": 32, "width": 32}
    config = {
        "image_processor_type": kind,
        "do_resize": True,
        "size": size,
        "resample": 3,
        "do_center_crop": kind == "CLIPImageProcessor",
        "crop_size": {"height": 32, "width": 32},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": _CLIP_MEAN,
        "image_std": _CLIP_STD,
    }
    _write_json(folder / "preprocessor_config.json", config)


def _save(name: str, folder: Path, parts: dict[str, Any], index: dict[str, Any], pipeline: str, **options: Any) -> None:
    for part, module in parts.items():
        draw_weights(module, f"{name}/{folder.name}/{part}")
        module.save_pretrained(folder / part, safe_serialization=True)
    _write_json(
        folder / "model_index.json",
        {"_class_name": pipeline, "_diffusers_version": diffusers.__version__, **options, **index},
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def draw_weights(module: torch.nn.Module, name: str) -> None:
    """Fill every parameter from a generator seeded by `name` and the parameter's own, at a scale that neither
    dies out nor explodes: 1/sqrt(fan in) for matrices and convolutions, ones for norms, zeros for biases.

    The numbers are uniform with variance 1: unlike normal ones they need no logarithm or cosine, whose last bits
    depend on the processor.
    """
    with torch.no_grad():
        for path, parameter in module.named_parameters():
            digest = sha256(f"{name}/{path}".encode()).digest()
            generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8]) >> 1)
            noise = (torch.rand(parameter.shape, generator=generator) - 0.5) * math.sqrt(12)
            parameter.copy_(_scaled(path, noise))


def _scaled(path: str, noise: torch.Tensor) -> torch.Tensor:
    if path.endswith("embeds_weights"):  # thresholds of the safety checker: no cosine exceeds 1
        return torch.ones_like(noise)
    if "embed" in path:
        return noise * 0.5
    if path.endswith("bias"):
        # The depth head ends in a ReLU: a positive bias keeps the map from being zero all over.
        return torch.full_like(noise, 1.0) if path == "head.head.4.bias" else torch.zeros_like(noise)
    if noise.ndim == 1:
        return torch.ones_like(noise)
    return noise / math.sqrt(noise[0].numel())
