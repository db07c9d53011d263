"""Text of others on a terminal: prompts, ids and messages must not move its cursor or turn its direction."""

import re

# C0 and C1 controls but line feed and tab, and what changes a line's direction or hides in it: bidirectional
# embeddings, overrides and isolates (Unicode's TR 9), zero-width marks, line and paragraph separators.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """The text with such characters written as escapes, `\\x1b`, `\\u202e`. Joiners, which scripts need, stay."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
