"""Ids for imported rows: the row's own where it is free, else with a number behind it."""

import re
import unicodedata
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from orchestrator.manifests.ids import fold
from schemas.rows import RowId

MOST = 120  # characters of an id, as schemas.rows.RowId
_FROM_FILE = MOST - 10  # with room for a number
_REFUSED = "\0"
_ROW_ID: TypeAdapter[str] = TypeAdapter(RowId)


class FreeIds:
    """Gives out each id once. Ids that one cannot tell apart, or that name one file on some disk, count as one."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, wanted: str) -> str:
        """The id, or `ID-2` and so on where it is taken."""
        found = wanted
        while (folded := fold(found)) in self._taken:
            number = self._next.get(wanted, 2)
            self._next[wanted] = number + 1
            found = f"{wanted[: MOST - len(str(number)) - 1]}-{number}"
        self._taken.add(folded)
        return found


def id_of_file(stem: str) -> str:
    """An id for a row that has none of its own: its file's name, as far as an id can hold it."""
    held = "".join(letter if _holds(letter) else _REFUSED for letter in unicodedata.normalize("NFC", stem))
    plain = re.sub(f"{_REFUSED}+", "_", held)[:_FROM_FILE].lstrip("_ .@+=,()#-").rstrip("_ .")
    return plain or "image"


@lru_cache(4096)
def _holds(letter: str) -> bool:
    """Whether an id can hold it. The schema is asked, as `\\w` is not the same set in every engine of patterns."""
    try:
        _ROW_ID.validate_python(f"a{letter}a")
    except ValidationError:
        return False
    return True
