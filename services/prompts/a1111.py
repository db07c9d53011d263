"""A1111's prompt syntax: `(word)` x 1.1, `[word]` / 1.1, `(word:1.3)`, nested, escaped `\\(`, and `BREAK`.

The rules are those of stable-diffusion-webui, `modules/prompt_parser.py` (`parse_prompt_attention`): a bracket that is
never closed counts to the end, one that was never opened is text, equal weights side by side are one part. What needs
another picture at another step has no counterpart in one encoded prompt, and is told: prompt editing `[a:b:0.5]` is
read as what stands there in the end, alternation `[a|b]` as its first choice, and `AND` as a word.
"""

import re
from dataclasses import dataclass, field

from services.prompts.weighted import MAX_DEPTH, MAX_PARTS, MAX_WEIGHT, Part, Remark, WeightedPrompt, fault, warning

ROUND = 1.1
SQUARE = 1 / 1.1

_TOKEN = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)"
    r"|:\s*+(?P<weight>[+-]?[.\d]+)\s*+\)"
    r"|(?P<mark>[()\[\]:|])"
    r"|(?P<text>[^\\()\[\]:|]++)"
)
_MARKS = "\\()[]"
_BREAK = re.compile(r"\bBREAK\b")
_AND = re.compile(r"\bAND\b")
_WHEN = re.compile(r"\s*\d*\.?\d+\s*")


@dataclass
class _Bracket:
    """One that is open: which, where its content begins, and the marks that stand directly in it."""

    mark: str
    start: int
    bars: list[int] = field(default_factory=list)
    colons: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Piece:
    """Text with its weight so far; `literal` text was escaped, and is no `BREAK` or `AND`."""

    text: str
    literal: bool
    weight: float = 1.0


def parse_a1111(prompt: str) -> WeightedPrompt:
    """Take a prompt apart. Never raises; time grows with the prompt's length alone."""
    if not any(mark in prompt for mark in _MARKS):
        return _finished([_Piece(prompt, literal=False)], {})
    reader = _Reader()
    for token in _TOKEN.finditer(prompt):
        reader.take(token)
    return _finished(reader.finish(), reader.remarks)


class _Reader:
    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._open: list[_Bracket] = []
        self.remarks: dict[Remark, None] = {}

    def take(self, token: re.Match[str]) -> None:
        if token["text"] is not None:
            self._add(token["text"])
        elif token["escaped"] is not None:
            self._add(token["escaped"], literal=True)
        elif token["weight"] is not None:
            self._close_weighted(token[0], token["weight"])
        elif token["mark"] in "([":
            self._open_bracket(token["mark"])
        elif token["mark"] in ")]":
            self._close(token["mark"])
        else:
            if self._open:
                marks = self._open[-1].bars if token["mark"] == "|" else self._open[-1].colons
                marks.append(len(self._pieces))
            self._add(token["mark"])

    def finish(self) -> list[_Piece]:
        for bracket in self._open:
            self._multiply(bracket.start, ROUND if bracket.mark == "(" else SQUARE)
        return self._pieces

    def _add(self, text: str, literal: bool = False) -> None:
        self._pieces.append(_Piece(text, literal))

    def _open_bracket(self, mark: str) -> None:
        if len(self._open) == MAX_DEPTH:
            self.remarks[fault(f"brackets are nested more than {MAX_DEPTH} deep")] = None
            self._add(mark)
            return
        self._open.append(_Bracket(mark, len(self._pieces)))

    def _close_weighted(self, written: str, number: str) -> None:
        bracket = self._last("(")
        try:
            weight = float(number)
        except ValueError:
            self.remarks[warning(f"{number!r} is no weight: read as text", "no weight")] = None
            self._add(written)
            return
        if bracket is None:
            self._add(written)
            return
        if abs(weight) > MAX_WEIGHT:
            self.remarks[fault(f"weight {number}: from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}", "a weight too large")] = None
        self._multiply(bracket.start, weight)

    def _close(self, mark: str) -> None:
        bracket = self._last("(" if mark == ")" else "[")
        if bracket is None:
            self._add(mark)
        elif mark == ")":
            self._multiply(bracket.start, ROUND)
        elif bracket.bars:
            self._alternate(bracket)
        elif not self._edit(bracket):
            self._multiply(bracket.start, SQUARE)

    def _last(self, mark: str) -> _Bracket | None:
        """The innermost open bracket of a kind, closed now. Those of the other kind stay open, as there."""
        for place in range(len(self._open) - 1, -1, -1):
            if self._open[place].mark == mark:
                return self._open.pop(place)
        return None

    def _multiply(self, start: int, factor: float) -> None:
        for place in range(start, len(self._pieces)):
            self._pieces[place].weight *= factor

    def _alternate(self, bracket: _Bracket) -> None:
        del self._pieces[bracket.bars[0] :]
        message = "alternation [a|b] changes the prompt from step to step: read as its first choice"
        self.remarks[warning(message)] = None

    def _edit(self, bracket: _Bracket) -> bool:
        """Whether this was prompt editing: `[to:when]`, `[from:to:when]`."""
        if not 1 <= len(bracket.colons) <= 2 or bracket.colons[-1] != len(self._pieces) - 2:
            return False
        if not _WHEN.fullmatch(self._pieces[-1].text):
            return False
        begin = bracket.colons[0] + 1 if len(bracket.colons) == 2 else bracket.start
        self._pieces[bracket.start :] = self._pieces[begin : bracket.colons[-1]]
        message = "prompt editing [a:b:0.5] changes the prompt from step to step: read as what stands there in the end"
        self.remarks[warning(message)] = None
        return True


def _finished(pieces: list[_Piece], remarks: dict[Remark, None]) -> WeightedPrompt:
    """Cut at BREAK, with equal weights side by side as one part."""
    segments: list[list[tuple[list[str], float]]] = [[]]
    for piece in pieces:
        for number, text in enumerate([piece.text] if piece.literal else _BREAK.split(piece.text)):
            if number:
                segments.append([])
            if not piece.literal and _AND.search(text):
                remarks[warning("AND joins several prompts in A1111: read as a word")] = None
            here = segments[-1]
            if here and here[-1][1] == piece.weight:
                here[-1][0].append(text)
            elif text:
                here.append(([text], piece.weight))
    parts = tuple(tuple(Part("".join(texts), weight) for texts, weight in segment) for segment in segments)
    if sum(map(len, parts)) > MAX_PARTS:
        remarks[fault(f"more than {MAX_PARTS} parts with weights of their own, or BREAKs")] = None
    return WeightedPrompt(parts, tuple(remarks))
