"""Textual inversions: words of a row's own, there while its prompts are encoded and gone afterwards.

The model's tokenizers and its tables of token vectors are put aside, and longer copies in their place. What was put
aside comes back as it was: a word leaves no trace on other rows.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file

from schemas.errors import ModelUnavailable
from workers.models.adapter_files import AdapterFile

# The parts of a file for SDXL's text encoders, as trainers and diffusers' documentation name them.
_XL_PARTS = ("clip_l", "clip_g")
_RENAME = "give it another name in models.toml"
_ENCODERS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


@contextmanager
def words_added(pipe: Any, words: Mapping[str, AdapterFile]) -> Iterator[None]:
    """A pipeline that knows these words. Of several vectors, the word stands for all of them; diffusers calls the
    further ones `word_1`, `word_2`.

    Raises:
        ModelUnavailable: a file is no embedding, or not for this model's text encoders.
    """
    if not words:
        yield
        return
    encoders = [names for names in _ENCODERS if getattr(pipe, names[1], None) is not None]
    vectors = {word: _vectors(file, len(encoders)) for word, file in words.items()}
    before: list[tuple[str, Any, Any, Any]] = []
    try:
        for place, (tokenizer_name, encoder_name) in enumerate(encoders):
            tokenizer, encoder = getattr(pipe, tokenizer_name), getattr(pipe, encoder_name)
            before.append((tokenizer_name, tokenizer, encoder, encoder.get_input_embeddings()))
            longer = copy.deepcopy(tokenizer)
            own = {word: parts[place] for word, parts in vectors.items()}
            encoder.set_input_embeddings(_longer_table(encoder.get_input_embeddings(), longer, own))
            setattr(pipe, tokenizer_name, longer)
        yield
    finally:
        for tokenizer_name, tokenizer, encoder, table in before:
            setattr(pipe, tokenizer_name, tokenizer)
            encoder.set_input_embeddings(table)


def expansion(tokenizer: Any) -> dict[int, list[int]]:
    """Token of an added word -> the tokens of all of its vectors; words of one vector are left out."""
    added = tokenizer.added_tokens_encoder
    found = {}
    for word, token in added.items():
        tokens = [token]
        while (further := added.get(f"{word}_{len(tokens)}")) is not None:
            tokens.append(further)
        if len(tokens) > 1:
            found[token] = tokens
    return found


def _vectors(file: AdapterFile, encoders: int) -> list[torch.Tensor]:
    """For each text encoder the word's vectors, (vectors, width)."""
    try:
        tensors = load_file(file.path)
    except Exception as error:  # safetensors' own
        hint = "see source and file in models.toml"
        raise ModelUnavailable(f"embedding {file.name}: {file.path}: {error}", hint=hint) from None
    if encoders == 2:
        found = [tensors.get(part) for part in _XL_PARTS]
    else:
        # One tensor under the word itself (diffusers) or `emb_params` (A1111).
        found = [next(iter(tensors.values())) if len(tensors) == 1 else tensors.get("emb_params")]
    wanted = "clip_l and clip_g" if encoders == 2 else "one tensor"
    if any(part is None or part.ndim not in (1, 2) for part in found):
        held = ", ".join(sorted(tensors))[:200]
        message = f"embedding {file.name}: {file.path} should hold {wanted}, and holds {held}"
        raise ModelUnavailable(message, hint="see source, file and family in models.toml")
    return [part.reshape(-1, part.shape[-1]) for part in found if part is not None]


def _longer_table(table: Any, tokenizer: Any, words: Mapping[str, torch.Tensor]) -> Any:
    rows = [table.weight]
    length = table.weight.shape[0]
    for word, vectors in words.items():
        if vectors.shape[1] != table.weight.shape[1]:
            message = f"embedding {word} has vectors of {vectors.shape[1]} numbers, and the text encoder wants "
            raise ModelUnavailable(f"{message}{table.weight.shape[1]}", hint="see family in models.toml")
        names = [word, *(f"{word}_{number}" for number in range(1, len(vectors)))]
        if set(names) & set(tokenizer.get_vocab()):
            raise ModelUnavailable(f"embedding {word}: the model has a token of that name already", hint=_RENAME)
        for name, vector in zip(names, vectors, strict=True):
            tokenizer.add_tokens(name)
            token = tokenizer.convert_tokens_to_ids(name)
            rows.append(table.weight.new_zeros(token - length, table.weight.shape[1]))
            rows.append(vector[None].to(table.weight))
            length = token + 1
    longer = torch.nn.Embedding(length, table.weight.shape[1], padding_idx=table.padding_idx, device="meta")
    longer.weight = torch.nn.Parameter(torch.cat([row.detach() for row in rows]), requires_grad=False)
    return longer
