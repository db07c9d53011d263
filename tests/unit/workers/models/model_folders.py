"""Small folders in diffusers' format, made without torch: real files, weights of a few numbers."""

import json
import struct
from pathlib import Path
from typing import Any

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "requires_safety_checker": False,
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def safetensors(shape: tuple[int, ...]) -> bytes:
    """One float32 tensor of zeros in the safetensors format."""
    count = 1
    for side in shape:
        count *= side
    header = json.dumps({"a": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * count)


def write_model(folder: Path, index: dict[str, Any] | None = None) -> Path:
    """A whole folder, with more in it than a model needs: pickles, code, variants, a single-file checkpoint."""
    files: dict[str, bytes] = {
        "model_index.json": json.dumps(INDEX if index is None else index).encode(),
        "README.md": b"# a model",
        "setup.py": b"raise SystemExit('run')",
        "v1-5-pruned.safetensors": safetensors((1000,)),
        "scheduler/scheduler_config.json": b"{}",
        "tokenizer/vocab.json": b"{}",
        "tokenizer/merges.txt": b"",
        "unet/config.json": b"{}",
        "unet/modeling.py": b"raise SystemExit('run')",
        "unet/diffusion_pytorch_model.bin": b"pickle",
        "unet/diffusion_pytorch_model.safetensors": safetensors((10, 10)),
        "unet/diffusion_pytorch_model.fp16.safetensors": safetensors((10, 10)),
        "unet/diffusion_pytorch_model.non_ema.safetensors": safetensors((10, 10)),
        "vae/config.json": b"{}",
        "vae/diffusion_pytorch_model.safetensors": safetensors((5,)),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
