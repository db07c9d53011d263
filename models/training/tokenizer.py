"""A small byte-level BPE vocabulary in CLIP's format: any text in any script tokenizes.

The 256 bytes and the 256 bytes at a word's end are in the vocabulary, so nothing is unknown; the merges
(Sennrich et al. 2016) are learned from the words that captions use, until each of them is one token.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

from transformers import CLIPTokenizer

from models.training import captions, scenes

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77  # tokens of a prompt, as in Stable Diffusion
Pair = tuple[str, str]


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each byte, in CLIP's order (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + k) for k in range(len(others))]


def _words() -> list[str]:
    """Every word that a caption may hold."""
    phrases: list[str] = [*scenes.COLOURS, *scenes.SHAPES, *scenes.STYLES, *scenes.ZONES]
    phrases += [s + ("es" if s == "cross" else "s") for s in scenes.SHAPES]
    phrases += [*captions.PREFIXES, *captions.SUFFIXES, *captions.NUMBERS.values(), *captions.OTHER_WORDS]
    for table in (captions.ZONE_WORDS, captions.RELATION_WORDS, captions.SIZE_WORDS):
        phrases += [words for group in table.values() for words in group]
    phrases += ["a an the with on background fading plain striped"]
    words = {w.strip(",") for phrase in phrases for w in phrase.split()}
    return [*sorted(w for w in words if w.isalpha()), ","]


def _merged(word: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    """The word with every occurrence of the pair joined."""
    out: list[str] = []
    for letter in word:
        if out and (out[-1], letter) == pair:
            out[-1] += letter
        else:
            out.append(letter)
    return tuple(out)


def learn_merges(words: list[str]) -> list[Pair]:
    """Merge the most frequent neighbours (ties: by spelling) until each word is one token."""
    split = [(*w[:-1], w[-1] + "</w>") for w in words]
    merges: list[Pair] = []
    while any(len(w) > 1 for w in split):
        counts = Counter(pair for w in split for pair in itertools.pairwise(w))
        best = min(counts, key=lambda p: (-counts[p], p))
        merges.append(best)
        split = [_merged(w, best) for w in split]
    return merges


def build(folder: Path) -> CLIPTokenizer:
    """Write the vocabulary to the folder and load it back as any CLIP tokenizer is loaded."""
    merges = learn_merges(_words())
    letters = _byte_letters()
    tokens = [*letters, *(b + "</w>" for b in letters)]
    tokens += [t for t in dict.fromkeys("".join(m) for m in merges) if t not in set(tokens)]
    tokens += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {t: i for i, t in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(m) for m in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    return CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=LENGTH)
