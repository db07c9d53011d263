"""Which images share a denoising loop: consecutive ones with one batch key, cut at what fits into memory."""

from collections.abc import Hashable, Iterable, Iterator, Sequence

from schemas.errors import ModelUnavailable
from workers.engines.base import Renderer, Slot


class BatchSizes:
    """The largest batch that fits, by batch key: the engine's word, until memory said less."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._learned: dict[Hashable, int] = {}

    def limit(self, slot: Slot) -> int:
        """Most images like this one in one loop."""
        try:
            fits = self._renderer.batch_limit(slot.row)
        except ModelUnavailable:
            return 1  # rendering says so too, where the row can fail by it
        return max(1, min(fits, self._learned.get(slot.row.batch_key(), fits)))

    def too_many(self, slots: Sequence[Slot]) -> None:
        """So many did not fit: half as many from now on."""
        self._learned[slots[0].row.batch_key()] = max(1, len(slots) // 2)


def cut(slots: Iterable[Slot], sizes: BatchSizes) -> Iterator[list[Slot]]:
    """Cut slots into batches as they come, so that inputs are read only a little ahead of their rendering."""
    batch: list[Slot] = []
    for slot in slots:
        if batch and slot.row.batch_key() != batch[0].row.batch_key():
            yield batch
            batch = []
        batch.append(slot)
        if len(batch) >= sizes.limit(slot):
            yield batch
            batch = []
    if batch:
        yield batch
