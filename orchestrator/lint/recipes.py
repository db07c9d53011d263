"""Images that are made twice: the same recipe and seed, of one row or of two.

Image k of a row has its seed + k, at every stage, so that a row of several images and one with a later seed can have
some of them in common.
"""

from collections.abc import Callable, Iterable, Mapping

from orchestrator.manifests.hashes import HashIndex, Repeats
from orchestrator.manifests.reading import AuthoredRow
from orchestrator.manifests.row_faults import RowFaults
from orchestrator.planner.defaults import PlannedInput, first
from orchestrator.planner.lines import Prototype
from schemas.rows import Row, StageBase

SAME_RECIPE = "the same recipe and seed as an earlier row: the same image again"

Looked = tuple[AuthoredRow, Prototype, Mapping[str, PlannedInput]]
"""A row, what it has in common with others, and its inputs."""
MOST_IMAGES = 1 << 24
"""Images that are compared; of rows after them the first one alone. Eight bytes each on disk."""
_IMAGES = 128
"""More than a row can have: an image's place is its row's line times this, and its number."""


class SameImages:
    """Finds them among any number of rows, in constant memory. A context: it keeps hashes on disk."""

    def __init__(self, *, most: int = MOST_IMAGES) -> None:
        self._index = HashIndex()
        self._most = most

    def close(self) -> None:
        """Give the disk back."""
        self._index.close()

    def add(self, row: Row, prototype: Prototype, inputs: Mapping[str, PlannedInput]) -> None:
        """The next row, which has a seed. Written for speed: it runs once a row."""
        seed = row.seed or 0
        recipe = _recipe(row, prototype, inputs)
        self._index.add(hash((recipe, seed)))
        images = prototype.num_images
        if images > 1 and len(self._index) < self._most:
            for number in range(1, images):
                self._index.add(hash((recipe, seed + number)))

    def report(self, again: Callable[[], Iterable[Looked]], faults: RowFaults) -> None:
        """Warn of every row with an image that came before.

        Args:
            again: all rows once more.
        """
        repeats = Repeats(self._index.repeated())
        if not len(repeats):
            return
        for authored, prototype, inputs in again():
            row = authored.row
            if row.seed is None:
                continue
            recipe = _recipe(row, prototype, inputs)
            place = authored.line * _IMAGES
            found = [
                (number, before)
                for number in range(prototype.num_images)
                if (before := repeats.first((recipe, row.seed + number), place + number)) is not None
            ]
            if found:
                faults.warn(authored, _message(authored.line, *found[0]), value=row.id, kind=SAME_RECIPE)


def _message(line: int, number: int, before: int) -> str:
    earlier, its_number = divmod(before, _IMAGES)
    where = f"line {earlier}" if earlier != line else "an earlier row of this line"
    if number == its_number == 0:
        return f"the same recipe and seed as {where}"
    return f"image {number} has the recipe and seed of image {its_number} of {where}"


def _recipe(row: Row, prototype: Prototype, inputs: Mapping[str, PlannedInput]) -> tuple[object, ...]:
    """What makes the images of a row, but for its seed."""
    return (
        prototype.recipe,
        row.prompt,
        row.negative_prompt or "",
        tuple(found.image.address for found in inputs.values()) if inputs else (),
        tuple(_at_stage(row, stage) for stage in row.then) if row.then else (),
    )


def _at_stage(row: Row, stage: StageBase) -> tuple[str, str, int]:
    """What a stage draws, and how far its seed is from the row's."""
    negative = first(stage.negative_prompt, row.negative_prompt) or ""
    return first(stage.prompt, row.prompt), negative, 0 if stage.seed is None else stage.seed - (row.seed or 0)
