"""Images to be rendered again: read from files, and grouped into the rows that made them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.importing.own import row_values
from orchestrator.rerender.layout import Layout, Place, layout_of
from schemas.errors import InvalidInput
from services.image_metadata.containers import OWN, read_texts
from services.image_metadata.record import ImageRecord, parse_record


@dataclass(frozen=True)
class Original:
    """An image of ours on this machine; `label` is what its reader calls it."""

    file: Path
    label: str
    record: ImageRecord


@dataclass
class OriginalRow:
    """A row, and those of its images that are to be rendered again."""

    values: dict[str, Any]
    originals: list[Original] = field(default_factory=list)

    @property
    def row_id(self) -> str:
        return str(self.values["id"])

    @property
    def images(self) -> int:
        """Images that the row makes."""
        return int(self.values.get("num_images", 1))

    @property
    def is_mixed(self) -> bool:
        """Whether the stages of a chain had batches of different sizes, as large outputs fit in smaller numbers."""
        return any(place != places[0] for places in map(_places, self.originals) for place in places)

    @property
    def max_batch(self) -> int:
        """What the worker's largest batch has to be; 0: by size and memory, as no one number gives every stage its."""
        return 0 if self.is_mixed else self.layout().limit

    def layout(self) -> Layout:
        """Its place among other images at its first stage; alone where the recorded places are those of no one task."""
        places = {one.record.image: _places(one)[0] for one in self.originals}
        return layout_of(places, self.images) or Layout(max(place.batch_size for place in places.values()), 0, 0)


def _places(original: Original) -> list[Place]:
    """Where an image was rendered, stage by stage."""
    record = original.record
    earlier = [Place(one.batch_size, one.slot) for one in record.stages]
    return [*earlier, Place(record.batch_size, record.slot)]


def read_original(file: Path, label: str | None = None) -> Original:
    """An image with its own record.

    Args:
        file: where it lies.
        label: what to call it; None: by its path.

    Raises:
        InvalidInput: not an image, not one of ours, or of a later version.
    """
    try:
        texts = read_texts(file).texts
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from None
    if OWN not in texts:
        raise InvalidInput(
            "it holds no recipe of promptmill",
            hint="`promptmill import` makes a row of what other tools wrote, and `promptmill run` renders it",
        )
    return Original(file, label or str(file), parse_record(texts[OWN]))


def rows_of(originals: Iterable[Original]) -> list[OriginalRow]:
    """The rows that made these images, in the order of their first image.

    Raises:
        InvalidInput: a recipe of a later version.
    """
    found: dict[str, OriginalRow] = {}
    for original in originals:
        record = original.record
        # Where it was rendered is part of what makes the same bytes again.
        key = json.dumps([record.recipe, record.render.model_dump()], sort_keys=True)
        found.setdefault(key, OriginalRow(row_values(record))).originals.append(original)
    return list(found.values())
