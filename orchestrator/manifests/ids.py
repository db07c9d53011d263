"""Ids that come twice, and ids that one cannot tell apart: a disk that does not tell upper from lower case, or a reader
who sees no difference between a composed and a decomposed letter, or a mark that has no width.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from orchestrator.manifests.faults import Faults
from orchestrator.manifests.hashes import MOST_REPEATED, HashIndex, Repeats
from schemas.rows import default_row_id

ID_TWICE = "id given twice"
ONE_FILE = (
    "differs from an earlier id in case or in marks that cannot be seen: macOS and Windows take the two for one file"
)
# Letters and marks of the pattern of ids that show nothing: joiners, variation selectors, fillers (Unicode's property
# Default_Ignorable_Code_Point, as far as the pattern lets them in).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

Identified = tuple[int, dict[str, Any], Any]
"""A line, its values, and what this module does not look at."""


def fold(row_id: str) -> str:
    """Equal for ids that look alike or name one file on some disk: case, Unicode's spellings, marks without width."""
    if row_id.isascii():
        return row_id.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", _UNSEEN.sub("", row_id)).casefold())


class IdIndex:
    """The ids of a manifest in its order. Costs nothing while no row gives an id."""

    def __init__(self, **options: int) -> None:
        self._options = options
        self._unnamed = 0
        self._exact: HashIndex | None = None
        self._folded: HashIndex | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for index in (self._exact, self._folded):
            if index is not None:
                index.close()

    def add(self, row_id: str | None) -> None:
        """The id of the next row; None: it has its number."""
        exact = self._exact
        if exact is None:
            if row_id is None:
                self._unnamed += 1
                return
            exact = self._exact = HashIndex(**self._options)
            for number in range(self._unnamed):
                exact.add(hash(default_row_id(number)))
        if row_id is None:
            row_id = default_row_id(len(exact))
        if self._folded is not None or fold(row_id) != row_id:
            self._fold(row_id)
        exact.add(hash(row_id))

    def __len__(self) -> int:
        """Rows so far."""
        return self._unnamed if self._exact is None else len(self._exact)

    def repeats(self) -> tuple[Repeats, Repeats] | None:
        """For ids as they are and folded; None where no id can come twice in either way."""
        if self._exact is None:
            return None
        exact = Repeats(self._exact.repeated())
        folded = Repeats(self._folded.repeated()) if self._folded is not None else exact
        return (exact, folded) if len(exact) or len(folded) else None

    def _fold(self, row_id: str) -> None:
        if self._folded is None:
            assert self._exact is not None
            self._folded = HashIndex(**self._options)
            self._exact.copy_to(self._folded)  # so far all were the same folded
        self._folded.add(hash(fold(row_id)))


def report_repeated(ids: IdIndex, again: Callable[[], Iterable[Identified]], faults: Faults) -> None:
    """Add a fault for every id that came before, and a warning where only its case differs.

    Args:
        again: the records of the manifest once more.
    """
    found = ids.repeats()
    if found is None:
        return
    exact, folded = found
    for position, (line, values, _) in enumerate(again()):
        given = given_id(values)
        row_id = default_row_id(position) if given is None else given
        first = exact.first(row_id, line)
        if first is not None:
            message = f"line {first} has this id as well"
            if row_id.isdigit() and row_id == default_row_id(int(row_id)):
                message += "; a row without one is named by its number, from 0"
            faults.add(line, message, field="id", value=row_id, kind=ID_TWICE)
        elif folded is not exact:
            first = folded.first(fold(row_id), line)
            if first is not None:
                faults.warn(
                    line, f"line {first} has this id in another spelling", field="id", value=row_id, kind=ONE_FILE
                )
    if len(exact) == MOST_REPEATED:
        faults.add(None, f"more ids come twice: only the first {MOST_REPEATED:,} were compared", field="id")


def given_id(values: dict[str, Any]) -> str | None:
    """The id that a row gives, as it will be used."""
    given = values.get("id")
    # The schemas make text of a number, as of 42 in JSON; blanks around a CSV cell were cut.
    return None if given is None else str(given).strip()
