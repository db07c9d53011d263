"""The tokenizers of models that lie on this machine, without torch and transformers, and without a network."""

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from schemas.catalogue import ModelEntry, parse_source

CountTokens = Callable[[str], int]
"""Tokens of a text, without the marks at its begin and end."""

# CLIP's own rule ("Learning Transferable Visual Models", simple_tokenizer.py): runs of letters, single digits, runs of
# everything else; case and the width of blanks do not count.
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def find_tokenizer(entry: ModelEntry) -> CountTokens | None:
    """How to count the tokens of a model's prompts; None where its tokenizer is not on this machine.

    It is read from the package for a built-in model, from the model's folder, or from the hub's cache.
    """
    folder = _model_folder(entry)
    if folder is None:
        return None
    try:
        return _load(folder / "tokenizer")
    except Exception:  # the library raises bare exceptions for files that are damaged or of a later version
        return None


def _load(folder: Path) -> CountTokens | None:
    whole, vocabulary, merges = folder / "tokenizer.json", folder / "vocab.json", folder / "merges.txt"
    if whole.is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(whole))
        by_words = _PIECES in json.loads(tokenizer.to_str()).get("pre_tokenizer", {}).get("pretokenizers", [{}])[0].get(
            "pattern", {}
        ).get("Regex", "")
    elif vocabulary.is_file() and merges.is_file():
        tokenizer, by_words = _clip(vocabulary, merges), True
    else:
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return _ByWords(count) if by_words else count


def _clip(vocabulary: Path, merges: Path) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    model = models.BPE.from_file(
        str(vocabulary),
        str(merges),
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        unk_token="<|endoftext|>",  # noqa: S106 - no password
    )
    tokenizer = Tokenizer(model)
    blanks = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), blanks, normalizers.Lowercase()])
    pieces = pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return tokenizer


class _ByWords:
    """Counts word by word: under CLIP's rule a token never goes over a blank, and prompts share their words."""

    MOST_WORDS = 100_000

    def __init__(self, count: CountTokens) -> None:
        self._count = count
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        if not text.isprintable():  # blanks of other kinds, which Python and the tokenizer may tell apart
            return self._count(text)
        words = text.split(" ")
        try:
            return sum(map(self._known.__getitem__, words))
        except KeyError:
            return sum(map(self._learn, words))

    def _learn(self, word: str) -> int:
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= self.MOST_WORDS:
                self._known.clear()
            known = self._known[word] = self._count(word)
        return known


def _model_folder(entry: ModelEntry) -> Path | None:
    kind, place = parse_source(entry.source)
    if kind == "folder":
        return Path(place).expanduser()
    if kind == "builtin":
        package = find_spec("workers")  # finds it, and imports nothing
        places = package.submodule_search_locations if package else None
        return Path(places[0], "builtin", place, "base") if places else None
    return _hub_snapshot(place, entry.revision or "main")


def _hub_snapshot(repository: str, revision: str) -> Path | None:
    """Where the hub's cache keeps a repository (its layout: `models--OWNER--NAME`, `refs`, `snapshots`)."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
    folder = cache / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None
