"""A small CLIP (Radford et al. 2021): pictures and captions in one space; its text tower conditions all UNets.

Beside the other captions of the batch, each picture meets two captions of its own that are wrong in one
fact (a colour, a shape, a side, swapped colours ...), as in NegCLIP (Yuksekgonul et al. 2023): otherwise the
text tower has little reason to keep who stands where.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from models.training import captions, data, loop

RECIPE = loop.Recipe("clip", steps=4_000, batch=64, rate=1e-3, warmup=150, decay=0.05, averaging=0.998)
WIDTH = 128
NEARLY_RIGHT = 2  # wrong captions made for each picture
STRANGERS = 0.15  # share of captions with words that mean nothing


def build(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A fresh model: patch 8; 3 layers for pictures, 4 for words; width 128; 4 heads."""
    tower = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4, "projection_dim": WIDTH}
    words = {
        "num_hidden_layers": 4,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(
        text_config={**tower, **words},
        vision_config={**tower, "num_hidden_layers": 3, "image_size": data.SIZE, "patch_size": 8},
        projection_dim=WIDTH,
    )
    model = CLIPModel(config)
    model.set_attn_implementation("eager")  # on a CPU twice as fast to train at this size
    return model


def tokens(tokenizer: CLIPTokenizer, texts: list[str], length: int | None = None) -> Tensor:
    """(n, length) token numbers; by default padded to the longest only."""
    padding = "max_length" if length else "longest"
    found: Tensor = tokenizer(
        texts, padding=padding, truncation=True, max_length=length or tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids  # fmt: skip
    return found


def loss_of_batch(pictures: Tensor, words: Tensor, scale: Tensor) -> Tensor:
    """Both directions. `words` (n * (1 + wrong), d): the n true captions first."""
    count = len(pictures)
    scores = scale * pictures @ words.T
    target = torch.arange(count, device=pictures.device)
    return functional.cross_entropy(scores, target) + functional.cross_entropy(scores[:, :count].T, target)


def train(work: Path, tokenizer: CLIPTokenizer, recipe: loop.Recipe = RECIPE) -> CLIPModel:
    """Train on scenes, with captions made afresh at every step."""
    torch.manual_seed(recipe.seed)
    pictures = data.pictures(work)
    where = loop.device()

    def loss_of(model: nn.Module, step: int, rng: torch.Generator) -> Tensor:
        words = np.random.default_rng([recipe.seed, step])
        chosen = data.draw_batch(rng, len(pictures), recipe.batch)
        some = [data.training_scenes()[i] for i in chosen]
        texts = [captions.caption(words, s) for s in some]
        for _ in range(NEARLY_RIGHT):
            texts += [captions.caption(words, captions.wrong(words, s)) for s in some]
        texts = [captions.with_strangers(words, t) if words.random() < STRANGERS else t for t in texts]
        out = model(input_ids=tokens(tokenizer, texts).to(where), pixel_values=data.to_tensor(pictures[chosen], where))
        scale = model.logit_scale.exp().clamp(max=100)  # type: ignore[operator]
        return loss_of_batch(out.image_embeds.float(), out.text_embeds.float(), scale)

    return loop.fit(recipe, build(tokenizer), loss_of, work)


@torch.no_grad()
def matches(model: CLIPModel, tokenizer: CLIPTokenizer, pictures: Tensor, texts: list[str], among: int = 64) -> float:
    """Share of pictures (n, 3, h, w) whose own caption wins among `among` (consecutive groups)."""
    right = total = 0
    for start in range(0, len(texts) - among + 1, among):
        out = model(
            input_ids=tokens(tokenizer, texts[start : start + among]).to(pictures.device),
            pixel_values=pictures[start : start + among],
        )
        best = (out.image_embeds @ out.text_embeds.T).argmax(1).cpu()
        right += int((best == torch.arange(among)).sum())
        total += among
    return right / total
