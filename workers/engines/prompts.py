"""Prompts to text states, row by row: each is what a plain call for that row alone computes, whatever the batch."""

from collections.abc import Sequence
from typing import Any

import torch

from schemas.errors import RenderFailed
from schemas.planned import PlannedRow
from schemas.rows import PipelineName
from workers.engines.weighted_prompts import WeightedPrompts

_NAMES = ("prompt_embeds", "negative_prompt_embeds")
_XL_NAMES = (*_NAMES, "pooled_prompt_embeds", "negative_pooled_prompt_embeds")


def is_guided(pipe: Any, pipeline: PipelineName, guidance_scale: float) -> bool:
    """Whether the pipeline will ask for the negative prompt too: guidance over 1, unless the UNet was distilled
    with guidance as an input (diffusers' `do_classifier_free_guidance`)."""
    distilled = pipeline not in ("upscale", "depth2img") and pipe.unet.config.time_cond_proj_dim is not None
    return guidance_scale > 1 and not distilled


@torch.no_grad()
def encode_prompts(pipe: Any, rows: Sequence[PlannedRow], guided: bool) -> dict[str, torch.Tensor]:
    """The call's embedding arguments for these rows, (batch, tokens, width) each and (batch, width) for pooled ones.
    The rows come to equally many chunks (`chunk_counts`).

    An empty negative prompt is none at all: SDXL takes zeros then, not the states of an empty text.

    Raises:
        ModelUnavailable: a row is weighted, and compel is not installed.
        RenderFailed: clip_skip leaves no layer, or a weighted prompt is not of its syntax.
    """
    _check_clip_skip(pipe, rows[0].clip_skip)
    weighted = _weighted(pipe, rows)
    plain = _plain(pipe, [row for row in rows if row.weighting is None], guided)
    known: dict[tuple[str | None, str, str], dict[str, torch.Tensor]] = {}
    found = []
    for row in rows:
        key = (row.weighting, row.prompt, row.negative_prompt)
        if key not in known:
            known[key] = plain[key[1:]] if weighted is None or row.weighting is None else weighted.encode(row, guided)
        found.append(known[key])
    return {name: torch.cat([states[name] for states in found]) for name in found[0]}


@torch.no_grad()
def chunk_counts(pipe: Any, rows: Sequence[PlannedRow]) -> list[int]:
    """For each row the chunks of 77 states that it comes to: 1, unless its prompts are weighted and long.

    Raises:
        ModelUnavailable: compel is not installed.
        RenderFailed: a prompt is not of its syntax.
    """
    weighted = _weighted(pipe, rows)
    return [
        1
        if weighted is None or row.weighting is None
        else weighted.chunks(row, is_guided(pipe, row.pipeline, row.guidance_scale))
        for row in rows
    ]


def _weighted(pipe: Any, rows: Sequence[PlannedRow]) -> WeightedPrompts | None:
    needed = any(row.weighting is not None for row in rows)
    return WeightedPrompts(pipe, rows[0].clip_skip) if needed else None


def _plain(pipe: Any, rows: Sequence[PlannedRow], guided: bool) -> dict[tuple[str, str], dict[str, torch.Tensor]]:
    """By prompt and negative prompt what the pipeline itself makes of them."""
    device = next(pipe.unet.parameters()).device
    known: dict[tuple[str, str], tuple[torch.Tensor | None, ...]] = {}
    negatives: dict[str, dict[str, torch.Tensor]] = {}
    for row in rows:
        texts = (row.prompt, row.negative_prompt)
        if texts not in known:
            known[texts] = pipe.encode_prompt(
                prompt=row.prompt,
                device=device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=guided,
                negative_prompt=row.negative_prompt or None,
                clip_skip=row.clip_skip,
                **negatives.get(row.negative_prompt, {}),
            )
            # Most rows of a batch have the same negative prompt: its states are given, not computed again.
            negatives[row.negative_prompt] = _negative_part(known[texts])
    return {texts: _given(states) for texts, states in known.items()}


def _given(states: tuple[torch.Tensor | None, ...]) -> dict[str, torch.Tensor]:
    names = _XL_NAMES if len(states) == len(_XL_NAMES) else _NAMES
    return {name: state for name, state in zip(names, states, strict=True) if state is not None}


def _negative_part(states: tuple[torch.Tensor | None, ...]) -> dict[str, torch.Tensor]:
    return {name: state for name, state in _given(states).items() if name.startswith("negative_")}


def _check_clip_skip(pipe: Any, clip_skip: int | None) -> None:
    if clip_skip is None:
        return
    layers = pipe.text_encoder.config.num_hidden_layers
    # SDXL counts from the last layer but one.
    most = layers - 1 if getattr(pipe, "text_encoder_2", None) is not None else layers
    if clip_skip > most:
        raise RenderFailed(f"clip_skip {clip_skip} is over {most}: the text encoder has {layers} layers")


def cut_off(pipe: Any, text: str) -> str:
    """The end of a prompt that the text encoder never sees, or "" where it sees all of it.

    CLIP reads 77 tokens, two of which are begin and end; diffusers cuts the rest and only logs it. Where a model
    has two tokenizers the longer cut counts.
    """
    tails = [_tail(tokenizer, text) for tokenizer in _tokenizers(pipe)]
    return max(tails, key=len, default="")


def _tokenizers(pipe: Any) -> list[Any]:
    found = [getattr(pipe, name, None) for name in ("tokenizer", "tokenizer_2")]
    return [tokenizer for tokenizer in found if tokenizer is not None]


def _tail(tokenizer: Any, text: str) -> str:
    most = tokenizer.model_max_length
    ids = tokenizer(text, truncation=False)["input_ids"]
    return str(tokenizer.decode(ids[most - 1 : -1])) if len(ids) > most else ""
