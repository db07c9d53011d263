"""`template: dynamic`: the syntax of dynamicprompts, made strict.

The library renders an unknown wildcard as its own name and leaves it to a log; here it is an error, and so are an
empty prompt and a template that is at work without an end. Its parser and samplers are used as they are.

Importing this module costs what the library costs (some 40 ms); only rows that ask for a template do.
"""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from random import Random

from dynamicprompts.commands import Command
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.sampling_result import SamplingResult
from dynamicprompts.wildcards import WildcardManager
from dynamicprompts.wildcards.values import WildcardValues
from pyparsing import ParseBaseException

from orchestrator.manifests.faults import shorten
from orchestrator.manifests.templates.fill import BadTemplate
from schemas.document import TemplateMode
from schemas.rows import MAX_PROMPT

# Commands sampled for one prompt. A sound template needs some tens; an endless one never gets there.
_MOST_STEPS = 50_000
_DEEPEST = 30
_CHUNK = 256
_METHODS = {
    "random": SamplingMethod.RANDOM,
    "combinatorial": SamplingMethod.COMBINATORIAL,
    "cyclical": SamplingMethod.CYCLICAL,
}


class Wildcards(WildcardManager):
    """The lists of one folder. An unknown one is an error."""

    def __init__(self, folder: Path | None) -> None:
        super().__init__(folder)

    def get_values(self, wildcard: str) -> WildcardValues:
        """The lines of a list.

        Raises:
            BadTemplate: there is no such list, or it is empty.
        """
        name = wildcard
        if ".." in name or "\\" in name:
            raise BadTemplate(f"__{shorten(wildcard)}__: a list is named by its place in the folder, as animals/birds")
        if not any(True for _ in self.match_collections(name)):
            name = f"**/{wildcard}"  # as the library does, which says so on a log
        values = super().get_values(name)
        if not values:
            where = f"in {self.path}" if self.path else "as there is no folder of lists: template.wildcards names one"
            raise BadTemplate(f"__{shorten(wildcard)}__: no such list {where}")
        return values


@dataclasses.dataclass(frozen=True)
class _Counted(SamplingContext):
    """Counts what is sampled between one prompt and the next."""

    steps: list[int] = dataclasses.field(default_factory=lambda: [0])

    def generator_from_command(self, command: Command) -> Iterator[SamplingResult]:  # type: ignore[override]
        self.steps[0] += 1
        if self.steps[0] > _MOST_STEPS:
            raise BadTemplate("it never comes to an end: does a list name itself?")
        return super().generator_from_command(command)

    def sample_prompts(self, prompt: str | Command, num_prompts: int | None = None) -> Iterable[SamplingResult]:
        # The library parses a line of a list anew each time that it comes up.
        return super().sample_prompts(_parsed(prompt) if prompt and isinstance(prompt, str) else prompt, num_prompts)


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Command:
    return parse(text)


def prompts(text: str, mode: TemplateMode, wildcards: Wildcards, rand: Random) -> Iterator[str]:
    """The prompts of a template: without an end where the mode is random or cyclical.

    Raises:
        BadTemplate: it is none, or gives an empty prompt.
    """
    depth = _depth(text)
    if depth > _DEEPEST:
        raise BadTemplate(f"braces nested {depth} levels deep; at most {_DEEPEST} are accepted")
    context = _Counted(_METHODS[mode], wildcards, rand=rand)
    results: Iterator[SamplingResult] | None = None
    size = 1
    while True:
        chunk: list[str] = []
        failure: BadTemplate | None = None
        with warnings.catch_warnings():
            # The library warns where a mode inside braces cannot be kept within another one.
            warnings.simplefilter("ignore")
            try:
                if results is None:
                    results = iter(context.sample_prompts(text))
                for result in islice(results, size):
                    chunk.append(str(result))
                    context.steps[0] = 0
            except Exception as error:
                failure = _explained(error)
        for prompt in chunk:
            if not prompt.strip():
                raise BadTemplate("it gives an empty prompt (# begins a comment in this syntax)")
            if len(prompt) > MAX_PROMPT:
                raise BadTemplate(f"it gives a prompt of more than {MAX_PROMPT:,} characters")
            yield prompt
        if failure is not None:
            raise failure
        if len(chunk) < size:
            return
        size = min(2 * size, _CHUNK)


def _explained(error: Exception) -> BadTemplate:
    """The library has no errors of its own: it raises the parser's and Python's."""
    if isinstance(error, BadTemplate):
        return error
    if isinstance(error, ParseBaseException):
        found = error.line[error.column - 1 : error.column + 19] if error.line else ""
        remedy = "in this syntax { } | $ % # __ have a meaning"
        return BadTemplate(f"cannot be read from character {error.column} on, {shorten(found)!r}: {remedy}")
    if isinstance(error, RecursionError):
        return BadTemplate("it never comes to an end: does a list or a variable name itself?")
    if isinstance(error, KeyError):
        return BadTemplate(shorten(str(error.args[0])))
    return BadTemplate(f"cannot be used: {shorten(str(error) or type(error).__name__)}")


def _depth(text: str) -> int:
    depth = deepest = 0
    for mark in text:
        depth += (mark == "{") - (mark == "}")
        deepest = max(deepest, depth)
    return deepest
