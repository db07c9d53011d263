"""What compel will make of a prompt, told before it is asked: compel itself needs torch, and on some prompts hours.

compel (2.5) takes nearly every text for a prompt: what is no syntax is words. It refuses a `.blend()` or `.and()` whose
weights are no numbers or not as many as its prompts, and a `.blend()` with something behind it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from services.prompts.lora_tags import take_tags
from services.prompts.weighted import MAX_WEIGHT, Remark, fault, warning

# compel's parser calls itself some thirty times for each level.
MAX_NESTED = 12

_SWAP = re.compile(r"""[\w)"']\.swap\(""")
_LORA = re.compile(r"\b(?:use|with)Lora\(")
_OPERATOR = re.compile(r"\s*\.(blend|and|add)\s*\(([^()]*)\)")
_A1111 = re.compile(r"\([^()]*:\s*[+-]?[.\d]+\s*\)")
_WEIGHT = re.compile(r"""[)"](-?\d+(?:\.\d+)?)""")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?|[+-]?\.\d+")
_ONE_PROMPT = re.compile(r'\s*(?:""|[^\s"()]+|\([^()]*\))\s*')
_QUOTED = re.compile(r'"(?:\\"|[^"])*+"')


class _Round(NamedTuple):
    """A prompt's parentheses: how deep they are nested, and whether they come in pairs."""

    deepest: int
    paired: bool


def check_compel(prompt: str) -> tuple[Remark, ...]:
    """What is to be told about a prompt in compel's syntax. Never raises; time grows with the prompt's length alone."""
    if not any(mark in prompt for mark in '()"<'):
        return ()
    return tuple(dict.fromkeys(_remarks(prompt)))


def _remarks(prompt: str) -> Iterator[Remark]:
    rounds = _rounds(prompt)
    if rounds.deepest > MAX_NESTED or prompt.count('\\"') > MAX_NESTED:
        yield fault(f"parentheses or quotes are nested more than {MAX_NESTED} deep")
        return
    if not rounds.paired:
        yield warning("parentheses that are not in pairs: read as text (\\( and \\) always are)")
    if _SWAP.search(prompt):
        yield fault(".swap() needs a hold on attention that diffusers' pipelines do not give")
    if _LORA.search(prompt):
        yield fault("LoRAs are named in the field loras, not in the prompt")
    if take_tags(prompt)[0] != prompt:
        yield warning("<lora:...> is text to compel: name it in the field loras, or weighting: a1111")
    if _A1111.search(prompt):
        yield warning("(word:1.3) is text to compel, which writes (word)1.3; weighting: a1111 reads it")
    for number in _WEIGHT.findall(prompt):
        if abs(float(number)) > MAX_WEIGHT:
            yield fault(f"weight {number}: from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}", "a weight too large")
    yield from _of_operator(prompt.strip())


def _rounds(prompt: str) -> _Round:
    depth = deepest = 0
    paired = True
    escaped = False
    for letter in prompt:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif letter == ")":
            depth -= 1
            if depth < 0:
                depth, paired = 0, False
    return _Round(deepest, paired and depth == 0)


def _of_operator(prompt: str) -> Iterator[Remark]:
    """`("a", "b").blend(0.7, 0.3)`, which counts for a whole prompt alone."""
    end = _closing(prompt) if prompt.startswith("(") else None
    found = _OPERATOR.match(prompt, end + 1) if end is not None else None
    if end is None or found is None:
        if re.search(r"\)\.(?:blend|and|add)\(", prompt):
            yield warning(".blend() and .and() count only for a whole prompt: read as text")
        return
    name, weights = found[1], [weight.strip() for weight in found[2].split(",") if weight.strip()]
    if name == "blend" and weights[-1:] == ["no_normalize"]:
        weights.pop()
    if found.end() < len(prompt):
        yield fault(f"nothing can stand behind .{name}(...)")
    for weight in weights:
        if not _NUMBER.fullmatch(weight):
            yield fault(f".{name}(...): {weight[:40]!r} is no number", f".{name} without a number")
        elif abs(float(weight)) > MAX_WEIGHT:
            yield fault(f"weight {weight}: from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}", "a weight too large")
    prompts = _prompts(prompt[1:end])
    if not all(_ONE_PROMPT.fullmatch(written) for written in prompts):
        yield warning(f".{name}() takes prompts in quotes or single words: read as text")
    if weights and len(weights) != len(prompts):
        message = f".{name}(...) has {len(weights)} weights for {len(prompts)} prompts"
        yield fault(message, f".{name} with another number of weights")


def _closing(prompt: str) -> int | None:
    """Where the parenthesis that opens a prompt is closed; what stands in quotes does not count."""
    depth = position = 0
    while position < len(prompt):
        letter = prompt[position]
        quoted = _QUOTED.match(prompt, position) if letter == '"' else None
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return position
        position = quoted.end() if quoted else position + (2 if letter == "\\" else 1)
    return None


def _prompts(inside: str) -> list[str]:
    """The prompts between the parentheses of an operator; of one in quotes the quotes alone."""
    found, depth = [""], 0
    for letter in _QUOTED.sub('""', inside):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return found
