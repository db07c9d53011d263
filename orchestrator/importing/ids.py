"""Ids for imported rows: the row's own where it is free, else with a number behind it."""

import re
import unicodedata

MOST = 120  # characters of an id, as schemas.rows.RowId
_STRANGE = re.compile(r"[^\w .@+=,()#-]+")


class FreeIds:
    """Gives out each id once. Ids that differ by case alone count as one: they name files."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """The id, or `ID-2` and so on where it is taken."""
        found = wanted
        while (folded := _folded(found)) in self._taken:
            number = self._next.get(wanted, 2)
            self._next[wanted] = number + 1
            found = f"{wanted[: MOST - len(str(number)) - 1]}-{number}"
        self._taken.add(folded)
        return found


def id_of_file(stem: str) -> str:
    """An id for a row that has none of its own: its file's name, as far as an id can hold it."""
    plain = _STRANGE.sub("_", unicodedata.normalize("NFC", stem))[: MOST - 10].strip("_ .@+=,()#-")
    return plain or "image"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
