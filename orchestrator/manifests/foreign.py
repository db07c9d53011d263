"""Values as other tools write them -> ours: sampler names, -1 for a random seed, iterations times batch size.

Looked at only where a row was refused as it stands, so that rows in our own words cost nothing.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.manifests.faults import shorten
from orchestrator.manifests.names import BATCH_SIZE, INITIAL_IMAGE, ITERATIONS
from schemas.samplers import scheduler_called

_MOST_IMAGES = 10**9


def translated(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values in our words. What has no counterpart stays, for the schemas to refuse.

    - `scheduler`: A1111's, DreamStudio's, ComfyUI's and diffusers' names.
    - `seed` -1: none given.
    - `n_iter` and `batch_size`: their product is `num_images`.
    - an initial image is `image`.
    """
    found = dict(values)
    scheduler = found.get("scheduler")
    if isinstance(scheduler, str):
        found["scheduler"] = scheduler_called(scheduler) or scheduler
    if str(found.get("seed", "")).strip() in ("-1", "-1.0"):
        del found["seed"]
    if INITIAL_IMAGE in found:
        found["image"] = found.pop(INITIAL_IMAGE)
    if ITERATIONS in found or BATCH_SIZE in found:
        found["num_images"] = _product(found.pop(ITERATIONS, 1), found.pop(BATCH_SIZE, 1))
    return found


def written(values: Mapping[str, Any]) -> dict[str, tuple[str, object]]:
    """How what gives another field together was written: our field -> its names there, and their values."""
    given = [name for name in (ITERATIONS, BATCH_SIZE) if values.get(name) is not None]
    if not given:
        return {}
    value = values[given[0]] if len(given) == 1 else " x ".join(shorten(values[name]) for name in given)
    return {"num_images": (" x ".join(given), value)}


def _product(left: object, right: object) -> object:
    """The product of two whole numbers above 0; the one that is none stays, and is refused as `num_images`."""
    numbers = []
    for value in (left, right):
        number = _whole(value)
        if number is None:
            return value
        numbers.append(number)
    return numbers[0] * numbers[1]


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= 12:
        value = int(value)
    return value if type(value) is int and 0 < value <= _MOST_IMAGES else None
