"""LoRAs and textual inversions for the tiny models, in the formats that people share them in.

`tiny-lora` and `tiny-xl-lora` change attention in UNet and text encoders, at rank 4. `tiny-word` is a word of two
vectors, `tiny-xl-word` one of a vector for each of both text encoders. Numbers are drawn as those of `tiny` are.
"""

import math
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from workers.models.tiny import WIDTH, make_text_encoder, make_unet

# Part of the file's name in the cache: raise it with every change of what is built here.
RECIPE = 1
_RANK = 4
_ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0", ".q_proj", ".k_proj", ".v_proj", ".out_proj")


def build(name: str, path: Path) -> None:
    """Write one of them.

    Raises:
        KeyError: none of that name.
    """
    tensors: dict[str, Callable[[], dict[str, torch.Tensor]]] = {
        "tiny-lora": lambda: _lora("tiny-lora", {"unet": make_unet("tiny"), "text_encoder": make_text_encoder("tiny")}),
        "tiny-xl-lora": lambda: _lora(
            "tiny-xl-lora",
            {
                "unet": make_unet("tiny-xl"),
                "text_encoder": make_text_encoder("tiny-xl"),
                "text_encoder_2": make_text_encoder("tiny-xl", second=True),
            },
        ),
        "tiny-word": lambda: {"tiny-word": _numbers("tiny-word", 2, WIDTH)},
        "tiny-xl-word": lambda: {part: _numbers(f"tiny-xl-word/{part}", 1, WIDTH) for part in ("clip_l", "clip_g")},
    }
    save_file(tensors[name](), path, metadata={"format": "pt"})


def _lora(name: str, networks: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Keys as diffusers' `save_lora_weights` writes them; of text encoders as before transformers 5.6, as most are."""
    found = {}
    for part, network in networks.items():
        for path, module in _attention(network):
            inner = path if part == "unet" or path.startswith("text_model.") else f"text_model.{path}"
            key = f"{part}.{inner}"
            found[f"{key}.lora_A.weight"] = _numbers(f"{name}/{key}/A", _RANK, module.in_features)
            found[f"{key}.lora_B.weight"] = _numbers(f"{name}/{key}/B", module.out_features, _RANK)
    return found


def _attention(network: Any) -> Iterator[tuple[str, Any]]:
    return ((path, module) for path, module in network.named_modules() if path.endswith(_ATTENTION))


def _numbers(name: str, rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(sha256(name.encode()).digest()[:8]) >> 1)
    return (torch.rand((rows, columns), generator=generator) - 0.5) * math.sqrt(12) / math.sqrt(columns)
