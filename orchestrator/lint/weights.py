"""Plain prompts that look as if they had weights, or LoRAs, in the syntax of A1111."""

import re

WEIGHTED = "A1111's weights and LoRAs are text without weighting: a1111"
_LOOKS = re.compile(r"\([^()]*:\s*[+-]?(?:\d(?:\.\d*)?|\.\d+)\s*\)|<lora:[^<>]+>")


def looks_weighted(text: str) -> str | None:
    """The first part of a text that A1111 would not take for text: `(word:1.3)`, `<lora:name:1>`."""
    if "(" not in text and "<" not in text:
        return None
    found = _LOOKS.search(text)
    return found[0] if found else None
