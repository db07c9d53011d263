"""How many images stood before and behind those of a row in its denoising loops, from what the images record.

A worker cuts a task's images into batches of one size, the last one smaller. An image's last bits depend on the size
of its batch and on its place in it, not on its mates; so a row that has as many other images before and behind it in
its task, and the same limit of a batch, is rendered as it was.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Place(NamedTuple):
    """Where an image was rendered: the size of its batch, and its slot in it, from 0."""

    batch_size: int
    slot: int


class Layout(NamedTuple):
    """Most images of a batch, and the images before and behind the row's."""

    limit: int
    before: int
    behind: int


def layout_of(places: Mapping[int, Place], images: int) -> Layout | None:
    """The layout that gives each known image its place; None where no one layout does.

    Args:
        places: number of an image in its row -> its place. One at least.
        images: of the row, known or not.
    """
    limit = max(place.batch_size for place in places.values())
    number, place = next(iter(places.items()))
    before = (place.slot - number) % limit
    total = max(_total(before + number, place, limit) for number, place in places.items())
    total = max(total, before + images)
    for number, place in places.items():
        batch, slot = divmod(before + number, limit)
        if place != Place(min(limit, total - batch * limit), slot):
            return None
    return Layout(limit, before, total - before - images)


def _total(position: int, place: Place, limit: int) -> int:
    """The fewest images of a task that give the image at a position a batch of its size."""
    return position // limit * limit + place.batch_size
