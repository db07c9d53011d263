"""The models that stay loaded. When memory is short, the one unused for longest leaves first."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Model = TypeVar("Model")

# What rendering needs beside weights, so that loading does not fill the device to the brim.
HEADROOM_BYTES = 512 * 2**20


class ModelPool(Generic[Model]):
    """Loaded models by alias, least recently used first.

    Args:
        limit: most models at a time; 0 is as many as memory allows.
        free: bytes that are free on the device now.
        give_back: lets go of what nothing refers to any more.
    """

    def __init__(self, limit: int, free: Callable[[], int], give_back: Callable[[], None]) -> None:
        self._limit = limit
        self._free = free
        self._give_back = give_back
        self._models: OrderedDict[str, Model] = OrderedDict()

    def get(self, alias: str) -> Model | None:
        """A loaded model, which counts as used now; None where it is not loaded."""
        if alias in self._models:
            self._models.move_to_end(alias)
        return self._models.get(alias)

    def add(self, alias: str, model: Model) -> None:
        """Keep a model; others leave where there may be no more of them."""
        self._models[alias] = model
        self._models.move_to_end(alias)
        while self._limit and len(self._models) > self._limit:
            self._drop_oldest()

    def make_room(self, needed: int, keep: str) -> None:
        """Let models other than `keep` leave until `needed` bytes and some headroom are free, or none is left."""
        while self._free() < needed + HEADROOM_BYTES and self._oldest_but(keep) is not None:
            self._drop(self._oldest_but(keep))

    def drop_all_but(self, keep: str) -> bool:
        """Let every model but one leave. Whether any did."""
        before = len(self._models)
        while (alias := self._oldest_but(keep)) is not None:
            self._drop(alias)
        return len(self._models) < before

    def drop(self, alias: str) -> None:
        """Let one model leave, if it is there."""
        if alias in self._models:
            self._drop(alias)

    def loaded(self) -> list[str]:
        """Aliases, least recently used first."""
        return list(self._models)

    def _oldest_but(self, keep: str) -> str | None:
        return next((alias for alias in self._models if alias != keep), None)

    def _drop_oldest(self) -> None:
        self._drop(next(iter(self._models)))

    def _drop(self, alias: str | None) -> None:
        if alias is None:
            return
        del self._models[alias]
        log.info("model %s leaves memory", alias)
        self._give_back()
