"""Looks at every row on its way to the plan."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.lint.prompts import READ_TOKENS, PromptLengths
from orchestrator.lint.settings import Oddity, odd_settings
from orchestrator.lint.weights import WEIGHTED, looks_weighted
from orchestrator.manifests.faults import Faults, shorten
from orchestrator.manifests.hashes import HashIndex, Repeats
from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.lines import Prototype
from schemas.rows import Row
from services.catalogue import Catalogue

SAME_RECIPE = "the same recipe and seed as an earlier row: the same image again"

Looked = tuple[int, Row, Prototype, Mapping[str, PlannedInput]]
"""A row's line, the row, what it has in common with others, and its inputs."""
_Known = tuple[tuple[Oddity, ...], str | None]
"""What is odd about rows of a prototype, and the model whose prompts have an end; None: all of them are read."""
_MOST_REMEMBERED = 10_000


class Lint:
    """The warnings of one manifest. A context: it keeps hashes on disk."""

    def __init__(self, catalogue: Catalogue, faults: Faults) -> None:
        self._faults = faults
        self._lengths = PromptLengths(catalogue, faults)
        self._known: dict[Prototype, _Known] = {}
        self._recipes = HashIndex()

    def __enter__(self) -> "Lint":
        return self

    def __exit__(self, *exc: object) -> None:
        self._recipes.close()

    def look(self, line: int, row: Row, prototype: Prototype, inputs: Mapping[str, PlannedInput]) -> None:
        """Warn of what is odd about a row. Written for speed: it runs once a row."""
        known = self._known.get(prototype)
        odd, model = known if known is not None else self._learn(prototype)
        for field, message, kind in odd:
            self._faults.warn(line, message, field=field, value=getattr(row, field, None), kind=kind)
        if model is not None:
            text = row.prompt
            if "(" in text or "<" in text:
                self._look_for_weights(line, text)
            if len(text) > READ_TOKENS or not text.isascii():
                self._lengths.look(line, "prompt", text, model)
            negative = row.negative_prompt
            if negative and (len(negative) > READ_TOKENS or not negative.isascii()):
                self._lengths.look(line, "negative_prompt", negative, model)
        if row.seed is not None:  # a seed that is derived from the row's id is no other row's
            self._recipes.add(hash(_recipe(row, prototype, inputs)))

    def _look_for_weights(self, line: int, text: str) -> None:
        weighted = looks_weighted(text)
        if weighted is not None:
            self._faults.warn(line, f"{shorten(weighted)} is text here", field="prompt", kind=WEIGHTED)

    def finish(self, again: Callable[[], Iterable[Looked]]) -> None:
        """Warn of what is known only after the last row.

        Args:
            again: the rows once more, as they were given to `look`.
        """
        repeats = Repeats(self._recipes.repeated())
        if not len(repeats):
            return
        for line, row, prototype, inputs in again():
            if row.seed is None:
                continue
            first = repeats.first(_recipe(row, prototype, inputs), line)
            if first is not None:
                self._faults.warn(line, f"the same recipe and seed as line {first}", value=row.id, kind=SAME_RECIPE)

    def notes(self) -> tuple[str, ...]:
        """What else is to be said."""
        return self._lengths.notes()

    def _learn(self, prototype: Prototype) -> _Known:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        first, entry = prototype.first, prototype.entry
        reads_all = first.weighting is not None or entry.noise
        found = self._known[prototype] = (odd_settings(first, entry), None if reads_all else first.model)
        return found


def _recipe(row: Row, prototype: Prototype, inputs: Mapping[str, PlannedInput]) -> tuple[object, ...]:
    addresses = tuple(found.image.address for found in inputs.values()) if inputs else ()
    return (prototype.tail, row.prompt, row.negative_prompt or "", row.seed, addresses)
