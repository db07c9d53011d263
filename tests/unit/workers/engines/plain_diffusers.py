"""Plain diffusers calls, as its documentation writes them, on the folders of the built-in models.

What the engines' output is compared with, so nothing that renders comes from `workers`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from workers.engines.base import Slot

# numpy 2 tells diffusers' schedulers, which hand torch tensors to it, that a protocol will change; and diffusers
# asks for autocast in float32 on the CPU, which torch declines with a warning, and calls what it has deprecated.
MARKS = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning"),
    pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning"),
]

UPSCALE_INPUT = 16  # pixels of a side: 64 come out
MakeSlots = Callable[..., list[Slot]]

CLASSES = {
    ("txt2img", False): "StableDiffusionPipeline",
    ("img2img", False): "StableDiffusionImg2ImgPipeline",
    ("inpaint", False): "StableDiffusionInpaintPipeline",
    ("upscale", False): "StableDiffusionUpscalePipeline",
    ("depth2img", False): "StableDiffusionDepth2ImgPipeline",
    ("txt2img", True): "StableDiffusionXLPipeline",
    ("img2img", True): "StableDiffusionXLImg2ImgPipeline",
    ("inpaint", True): "StableDiffusionXLInpaintPipeline",
}
COMBINATIONS = [
    (model, pipeline)
    for model in ("tiny", "tiny-2", "tiny-xl")
    for pipeline in ("txt2img", "img2img", "inpaint", "upscale", "depth2img")
    if (pipeline, model == "tiny-xl") in CLASSES
]

# Names that manifests use, written out once more from diffusers' documentation.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler_karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m_sde_karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "ddim_trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}


def plain_pipeline(root: Path, model: str, pipeline: str) -> Any:
    """A pipeline by `from_pretrained` on a built-in model's folders."""
    import diffusers
    import transformers

    own: dict[str, Any] = {}
    if pipeline in ("inpaint", "upscale", "depth2img"):
        folder = str(root / {"depth2img": "depth"}.get(pipeline, pipeline))
        own["unet"] = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    if pipeline == "upscale":
        own["vae"] = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae")
        own["low_res_scheduler"] = diffusers.DDPMScheduler.from_pretrained(folder, subfolder="low_res_scheduler")
        # What its pipeline expects of a checker, and what the small one is, differ by one return value.
        own |= {"safety_checker": None, "feature_extractor": None}
    if pipeline == "depth2img":
        own["depth_estimator"] = transformers.DPTForDepthEstimation.from_pretrained(folder, subfolder="depth_estimator")
        own["feature_extractor"] = transformers.DPTImageProcessor.from_pretrained(folder, subfolder="feature_extractor")
    kind = getattr(diffusers, CLASSES[pipeline, model == "tiny-xl"])
    pipe = kind.from_pretrained(root / "base", use_safetensors=True, local_files_only=True, **own)
    pipe.set_progress_bar_config(disable=True)
    if model != "tiny-xl":  # huggingface/diffusers#14124: clip_skip looks for the norm where it no longer is
        pipe.text_encoder.__dict__["text_model"] = pipe.text_encoder
    return pipe


def with_scheduler(pipe: Any, own: Any, name: str | None) -> Any:
    """The pipeline with a scheduler made from its model's own configuration."""
    import diffusers

    if name is None:
        pipe.scheduler = type(own).from_config(own.config)
    else:
        class_name, config = SCHEDULERS[name]
        pipe.scheduler = getattr(diffusers, class_name).from_config(own.config, **config)
    return pipe


def plain_picture(pipe: Any, seed: int, **arguments: Any) -> NDArray[np.uint8]:
    """One call, one image."""
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    picture = pipe(generator=generator, num_images_per_prompt=1, **arguments).images[0]
    return np.asarray(picture)


def input_image(side: int = 64, seed: int = 7) -> Image.Image:
    """Soft random colours, RGB."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def input_mask(side: int = 64) -> Image.Image:
    """White in the right half, L."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[:, side // 2 :] = 255
    return Image.fromarray(pixels)
