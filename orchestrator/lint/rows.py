"""Looks at every row on its way to the plan."""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.lint.known import Known, known_of
from orchestrator.lint.prompts import READ_TOKENS, PromptLengths
from orchestrator.lint.recipes import Looked, SameImages
from orchestrator.lint.weights import weighted_text
from orchestrator.manifests.faults import Faults
from orchestrator.manifests.reading import AuthoredRow
from orchestrator.manifests.row_faults import RowFaults, value_of
from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.lines import Prototype
from services.catalogue import Catalogue

_MOST_REMEMBERED = 10_000


class Lint:
    """The warnings of one manifest. A context: it keeps hashes on disk."""

    def __init__(self, catalogue: Catalogue, faults: Faults) -> None:
        self._catalogue = catalogue
        self._faults = RowFaults(faults)
        self._lengths = PromptLengths(catalogue, self._faults)
        self._known: dict[Prototype, Known] = {}
        self._images = SameImages()

    def __enter__(self) -> "Lint":
        return self

    def __exit__(self, *exc: object) -> None:
        self._images.close()

    def look(self, authored: AuthoredRow, prototype: Prototype, inputs: Mapping[str, PlannedInput]) -> None:
        """Warn of what is odd about a row. Written for speed: it runs once a row."""
        row = authored.row
        known = self._known.get(prototype) or self._learn(authored, prototype)
        odd, readers, negative_readers, texts = known
        for field, message, kind in odd:
            self._faults.warn(authored, message, field=field, value=value_of(row, field), kind=kind)
        if readers:
            text = row.prompt
            if "(" in text or "<" in text:
                self._look_for_weights(authored, "prompt", text)
            if len(text) > READ_TOKENS or not text.isascii():
                self._lengths.look(authored, "prompt", text, readers)
        negative = row.negative_prompt
        if negative and negative_readers:
            if "(" in negative or "<" in negative:
                self._look_for_weights(authored, "negative_prompt", negative)
            if len(negative) > READ_TOKENS or not negative.isascii():
                self._lengths.look(authored, "negative_prompt", negative, negative_readers)
        for field, text, model in texts:  # of stages
            self._lengths.look(authored, field, text, (model,))
        if row.seed is not None:  # a seed that is derived from the row's id is no other row's
            self._images.add(row, prototype, inputs)

    def _look_for_weights(self, authored: AuthoredRow, field: str, text: str) -> None:
        found = weighted_text(field, text)
        if found is not None:
            self._faults.warn(authored, found.message, field=field, kind=found.kind)

    def finish(self, again: Callable[[], Iterable[Looked]]) -> None:
        """Warn of what is known only after the last row.

        Args:
            again: the rows once more, as they were given to `look`.
        """
        self._images.report(again, self._faults)

    def notes(self) -> tuple[str, ...]:
        """What else is to be said."""
        return self._lengths.notes()

    def _learn(self, authored: AuthoredRow, prototype: Prototype) -> Known:
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        found = self._known[prototype] = known_of(authored.row, prototype, self._catalogue)
        return found
