"""Prompts longer than the text encoder reads. Counted where the model's tokenizer is on this machine.

Short prompts are not counted: every token is a byte of text at least, and blanks are none. Where there is no
tokenizer, a prompt with more than 75 words and digits is too long for certain; a long one with less is not known.
"""

import re
from collections import Counter

from orchestrator.lint.tokenizers import CountTokens, find_tokenizer
from orchestrator.manifests.reading import AuthoredRow
from orchestrator.manifests.row_faults import RowFaults
from services.catalogue import Catalogue

READ_TOKENS = 75
"""CLIP reads 77 tokens; two of them mark the begin and the end."""
TOO_LONG = "longer than the text encoder reads (77 tokens): the end is cut off"
_REMEDY = "; weighting: compel reads all"
_SURE_PIECES = re.compile(r"[^\W\d_]+|\d")


class PromptLengths:
    """Warns of prompts that are too long, and counts those that it cannot tell."""

    def __init__(self, catalogue: Catalogue, faults: RowFaults) -> None:
        self._catalogue = catalogue
        self._faults = faults
        self._counters: dict[str, CountTokens | None] = {}
        self.unknown: Counter[str] = Counter()
        """Canonical alias -> prompts that could not be counted."""

    def look(self, authored: AuthoredRow, field: str, text: str, models: tuple[str, ...]) -> None:
        """Warn where `text` is too long for one of the models that read it.

        Only texts of more than `READ_TOKENS` characters, or with others than ASCII's, can be.
        """
        if text.isascii() and len(text) - text.count(" ") <= READ_TOKENS:
            return
        for model in models:
            what = self._too_long(text, model)
            if what is not None:
                by = f" by {model}" if len(models) > 1 else ""
                self._faults.warn(authored, f"{what}{by}{_REMEDY}", field=field, value=text, kind=TOO_LONG)
                return

    def _too_long(self, text: str, model: str) -> str | None:
        """How much of a text a model does not read; None: it reads all, or cannot be asked, which is counted."""
        if model not in self._counters:
            self._counters[model] = find_tokenizer(self._catalogue.entries[model])
        count = self._counters[model]
        if count is not None:
            tokens = count(text)
            return f"{tokens + 2} tokens, {tokens - READ_TOKENS} are cut off" if tokens > READ_TOKENS else None
        pieces = len(_SURE_PIECES.findall(text)) if len(text) > 2 * READ_TOKENS else 0
        if pieces > READ_TOKENS:
            return f"at least {pieces + 2} tokens, so {pieces - READ_TOKENS} are cut off"
        self.unknown[model] += 1
        return None

    def notes(self) -> tuple[str, ...]:
        """What is to be said of prompts that could not be counted."""
        return tuple(
            f"{prompts:,} long prompts were not counted: the tokenizer of {model} is not on this machine "
            f"(promptmill models pull {model})"
            for model, prompts in self.unknown.most_common()
        )
