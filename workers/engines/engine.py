"""What one pipeline adds to the common path: diffusers' classes for it, and its own arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.catalogue import Family
from schemas.errors import RenderFailed
from schemas.rows import PipelineName
from workers.engines.base import Slot


@dataclass(frozen=True)
class Engine:
    """One pipeline.

    Attributes:
        pipeline: the name in a manifest.
        classes: family -> class name in diffusers.
        arguments: (pipeline object, slots) -> the call's own arguments beside prompts, guidance, generators and
            output type. All slots share one batch key.
        own_components: optional components of the class that it cannot do without.
        old_callback: the class has only `callback`, which knows no early end but an exception.
    """

    pipeline: PipelineName
    classes: Mapping[Family, str]
    arguments: Callable[[Any, Sequence[Slot]], dict[str, Any]]
    own_components: tuple[str, ...] = ()
    old_callback: bool = False


def images_of(slots: Sequence[Slot]) -> list[Any]:
    """The slots' input images, RGB."""
    if any(slot.image is None for slot in slots):
        raise RenderFailed(f"{slots[0].row.pipeline} got no input image")
    return [slot.image for slot in slots]


def masks_of(slots: Sequence[Slot]) -> list[Any]:
    """The slots' masks, L; white is redrawn."""
    if any(slot.mask is None for slot in slots):
        raise RenderFailed(f"{slots[0].row.pipeline} got no mask")
    return [slot.mask for slot in slots]


def strength_of(slots: Sequence[Slot], default: float) -> float:
    """The slots' strength, checked: diffusers runs int(steps * strength) of the steps, and needs one at least.

    Raises:
        RenderFailed: no step would be left.
    """
    row = slots[0].row
    strength = default if row.strength is None else row.strength
    if int(row.steps * strength) < 1:
        raise RenderFailed(f"strength {strength} of {row.steps} steps leaves no step to run")
    return strength
