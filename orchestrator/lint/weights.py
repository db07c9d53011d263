"""Plain prompts that look as if they had weights, or LoRAs, in the syntax of A1111."""

import re

from orchestrator.lint.settings import Oddity
from orchestrator.manifests.faults import shorten

WEIGHTED = "A1111's weights and LoRAs are text without weighting: a1111"
_LOOKS = re.compile(r"\([^()]*:\s*[+-]?(?:\d(?:\.\d*)?|\.\d+)\s*\)|<lora:[^<>]+>")


def weighted_text(field: str, text: str) -> Oddity | None:
    """The first part of a text that A1111 would not take for text, `(word:1.3)` or `<lora:name:1>`, as an oddity."""
    if "(" not in text and "<" not in text:
        return None
    found = _LOOKS.search(text)
    return (
        Oddity(field, f"{shorten(found[0])} is text here, unless the row has weighting: a1111", WEIGHTED)
        if found
        else None
    )
