"""Prompts with weights, and prompts beyond 77 tokens, to text states: compel's, from its own syntax or A1111's.

A long prompt is cut into chunks of 75 tokens, each with a begin and an end; the states of all chunks stand one behind
the other. Of a row's two prompts the shorter one is filled up with chunks of nothing, as the pipelines want both of
one length. A row alone decides its length; rows of different lengths never share a loop (`prompts.lengths`).
"""

import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch

from schemas.adapters import Weighting
from schemas.errors import ModelUnavailable, RenderFailed
from schemas.planned import PlannedRow
from services.prompts.a1111 import parse_a1111
from services.prompts.compel_syntax import check_compel
from services.prompts.weighted import Remark
from workers.models.inversions import expansion


class WeightedPrompts:
    """Encodes the weighted prompts of one pipeline as it stands, with its LoRAs and embeddings.

    Args:
        pipe: the pipeline.
        clip_skip: text encoder layers left out, as diffusers counts them.

    Raises:
        ModelUnavailable: compel is not installed.
    """

    def __init__(self, pipe: Any, clip_skip: int | None) -> None:
        self._pipe = pipe
        self._xl = getattr(pipe, "text_encoder_2", None) is not None
        # diffusers leaves layers out for the prompt alone, never for the negative one.
        self._compels = {"": self._of_encoders(clip_skip), "negative_": self._of_encoders(None)}

    def _of_encoders(self, clip_skip: int | None) -> list[Any]:
        """A Compel for each text encoder."""
        return [
            _compel().Compel(
                tokenizer=getattr(self._pipe, f"tokenizer{name}"),
                text_encoder=_States(getattr(self._pipe, f"text_encoder{name}"), clip_skip, xl=self._xl),
                textual_inversion_manager=_manager(expansion(getattr(self._pipe, f"tokenizer{name}"))),
                truncate_long_prompts=False,
            )
            for name in (("", "_2") if self._xl else ("",))
        ]

    def chunks(self, row: PlannedRow, guided: bool) -> int:
        """Chunks of 77 states that a row comes to.

        Raises:
            RenderFailed: a prompt is not of its syntax.
        """
        texts = [row.prompt, *([row.negative_prompt] if guided else [])]
        return max(_chunks(compel, _parsed(text, row.weighting)) for text in texts for compel in self._compels[""])

    def encode(self, row: PlannedRow, guided: bool) -> dict[str, torch.Tensor]:
        """The call's embedding arguments for one row: (1, tokens, width) each, and (1, width) for pooled ones.

        Raises:
            RenderFailed: a prompt is not of its syntax.
        """
        texts = {"": row.prompt}
        zeros = self._xl and not row.negative_prompt and self._pipe.config.force_zeros_for_empty_prompt
        if guided and not zeros:
            texts["negative_"] = row.negative_prompt
        parsed = {name: _parsed(text, row.weighting) for name, text in texts.items()}
        states = {name: self._states(name, one) for name, one in parsed.items()}
        longest = max(part.shape[1] for parts in states.values() for part in parts)
        found = {f"{name}prompt_embeds": self._joined(name, parts, longest) for name, parts in states.items()}
        if self._xl:
            found |= {f"{name}pooled_prompt_embeds": self._pooled(text, row.weighting) for name, text in texts.items()}
        if guided and zeros:
            found |= {f"negative_{name}": torch.zeros_like(part) for name, part in found.items()}
        return found

    def _states(self, name: str, parsed: Any) -> list[torch.Tensor]:
        """For each text encoder (1, tokens, width)."""
        return [compel.build_conditioning_tensor_for_conjunction(parsed)[0] for compel in self._compels[name]]

    def _joined(self, name: str, parts: Sequence[torch.Tensor], length: int) -> torch.Tensor:
        filled = [_filled(compel, part, length) for compel, part in zip(self._compels[name], parts, strict=True)]
        return torch.cat(filled, dim=-1)

    def _pooled(self, text: str, weighting: Weighting | None) -> torch.Tensor:
        """SDXL's pooled state has no place for weights. compel takes it from the text with all its marks."""
        plain = parse_a1111(text).text if weighting == "a1111" else text
        pooled: torch.Tensor = self._compels[""][-1].conditioning_provider.get_pooled_embeddings([plain])
        return pooled


class _States:
    """A text encoder whose last hidden state is the one that diffusers takes, as its `encode_prompt` picks it."""

    def __init__(self, encoder: Any, clip_skip: int | None, *, xl: bool) -> None:
        self._encoder = encoder
        self._xl = xl
        self._layer = -(clip_skip or 0) - (2 if xl else 1)
        self._skips = clip_skip is not None
        self.device = encoder.device
        self.dtype = encoder.dtype

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None = None, **_: Any) -> Any:
        found = self._encoder(ids, mask, output_hidden_states=self._xl or self._skips, return_dict=True)
        if self._xl:
            return SimpleNamespace(
                last_hidden_state=found.hidden_states[self._layer], text_embeds=getattr(found, "text_embeds", None)
            )
        if not self._skips:
            return SimpleNamespace(last_hidden_state=found.last_hidden_state)
        norm = self._encoder.text_model.final_layer_norm
        return SimpleNamespace(last_hidden_state=norm(found.hidden_states[self._layer]))


def _filled(compel: Any, states: torch.Tensor, length: int) -> torch.Tensor:
    """The states with chunks of nothing up to a length, which is a whole number of chunks."""
    nothing = compel.conditioning_provider.empty_z
    missing = (length - states.shape[1]) // nothing.shape[1]
    return torch.cat([states, *[nothing] * missing], dim=1) if missing else states


def _chunks(compel: Any, conjunction: Any) -> int:
    return sum(
        max(_chunks_of(compel, one) for one in getattr(prompt, "prompts", [prompt])) for prompt in conjunction.prompts
    )


def _chunks_of(compel: Any, prompt: Any) -> int:
    provider = compel.conditioning_provider
    texts, weights = [part.text for part in prompt.children], [part.weight for part in prompt.children]
    ids, _, _ = provider.get_token_ids_and_expand_weights(texts, weights, device="cpu")
    return len(ids) // int(provider.max_token_count)


def _parsed(text: str, weighting: Weighting | None) -> Any:
    """A prompt as compel's own objects."""
    if weighting == "a1111":
        found = parse_a1111(text)
        _refuse(found.remarks)
        flat = _compel().FlattenedPrompt
        return _compel().Conjunction(
            [flat([tuple(part) for part in segment] or [("", 1.0)]) for segment in found.segments]
        )
    _refuse(check_compel(text))
    try:
        conjunction = _parser().parse_conjunction(text)
    except Exception as error:  # pyparsing's, compel's own, and what its parse actions raise
        raise RenderFailed(f"not a prompt in compel's syntax: {str(error)[:300]}") from None
    return conjunction if conjunction.prompts else _parsed("", weighting)


def _refuse(remarks: Sequence[Remark]) -> None:
    faults = [remark.message for remark in remarks if remark.level == "fault"]
    if faults:
        raise RenderFailed(f"the prompt: {'; '.join(faults)}")


@cache
def _parser() -> Any:
    """compel's parser, made once.

    Without memory (packrat) it tries every reading of every open parenthesis: eight of them take minutes.
    """
    pyparsing: Any = importlib.import_module("pyparsing")
    pyparsing.ParserElement.enable_packrat(cache_size_limit=None)
    return _compel().PromptParser()


@cache
def _compel() -> Any:
    try:
        modules = [importlib.import_module(f"compel{name}") for name in ("", ".prompt_parser", ".embeddings_provider")]
    except ImportError as error:
        raise ModelUnavailable(f"weighting: {error}", hint="pip install 'promptmill[worker]'") from None
    names = ("Compel", "PromptParser", "Conjunction", "FlattenedPrompt", "BaseTextualInversionManager")
    return SimpleNamespace(**{name: next(getattr(m, name) for m in modules if hasattr(m, name)) for name in names})


def _manager(tokens: Mapping[int, Sequence[int]]) -> Any:
    """What tells compel that one token of a textual inversion stands for several."""
    if not tokens:
        return None

    class Manager(_compel().BaseTextualInversionManager):  # type: ignore[misc]
        def expand_textual_inversion_token_ids_if_necessary(self, token_ids: list[int]) -> list[int]:
            return [each for token in token_ids for each in tokens.get(token, (token,))]

    return Manager()
