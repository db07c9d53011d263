"""What a caption asked for against what the judge saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from models.training import draw, judge
from models.training.judge import Blob, Seen
from models.training.scenes import ZONES, Scene, Thing

FIGURES = ("background", "colour", "shape", "place", "count")


@dataclass
class Tally:
    """Right answers out of questions, by figure. `place` is a zone or a relation, `count` how many things."""

    right: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, figure: str, *answers: bool) -> None:
        """Count answers to one figure's question."""
        self.right[figure] += sum(answers)
        self.asked[figure] += len(answers)

    def share(self, figure: str) -> float:
        """Share of right answers; not a number when nothing was asked."""
        return self.right[figure] / self.asked[figure] if self.asked[figure] else float("nan")

    def line(self) -> str:
        """All figures, for printing."""
        return "  ".join(f"{f} {100 * self.share(f):5.1f} % of {self.asked[f]}" for f in FIGURES)

    def score(self) -> float:
        """Mean of the figures that were asked for."""
        return float(np.nanmean([self.share(f) for f in FIGURES]))


def _likeness(thing: Thing, blob: Blob | None) -> float:
    if blob is None:
        return 0.0
    near = 0.01 * (1 - abs(thing.x - blob.x) - abs(thing.y - blob.y))
    return 2.0 * (thing.colour == blob.colour) + 1.0 * (thing.shape == blob.shape) + near


def matched(scene: Scene, seen: Seen) -> list[Blob | None]:
    """The blob taken for each thing of the scene: the assignment with most in common; None is missing.

    Only as many blobs as things, the largest, take part: what is drawn beside the order wins nothing.
    """
    count = len(scene.things)
    blobs: list[Blob | None] = [*seen.blobs[:count], *[None] * max(0, count - len(seen.blobs))]
    best = max(permutations(blobs), key=lambda p: sum(_likeness(t, b) for t, b in zip(scene.things, p, strict=True)))
    return list(best)


def zone_of(x: float, y: float) -> str:
    """The zone whose centre is nearest."""
    return min(ZONES, key=lambda z: (ZONES[z][0] - x) ** 2 + (ZONES[z][1] - y) ** 2)


def _in_front(first: Blob, second: Blob) -> bool:
    """Whether the first hides the second: it shows where both outlines lie."""
    if first.outline is None or second.outline is None:
        return False
    size = len(first.mask)
    both = draw.area(first.outline, size) & draw.area(second.outline, size)
    return bool((first.mask & both).sum() > (second.mask & both).sum())


def relation_holds(relation: str, first: Blob, second: Blob) -> bool:
    """Whether the first stands so to the second."""
    if relation == "in front of":
        return _in_front(first, second)
    if relation == "behind":
        return _in_front(second, first)
    dx, dy = first.x - second.x, first.y - second.y
    if relation in ("left of", "right of"):
        return abs(dx) > abs(dy) and (dx < 0) == (relation == "left of")
    return abs(dy) > abs(dx) and (dy < 0) == (relation == "above")


def judge_scene(tally: Tally, scene: Scene, seen: Seen) -> None:
    """Add one picture's answers. A missing thing answers every question about it wrongly."""
    found = matched(scene, seen)
    pairs = list(zip(scene.things, found, strict=True))
    tally.add("background", seen.background == scene.background)
    tally.add("colour", *(b is not None and b.colour == t.colour for t, b in pairs))
    tally.add("shape", *(b is not None and b.shape == t.shape for t, b in pairs))
    if scene.zone:
        tally.add("place", found[0] is not None and zone_of(found[0].x, found[0].y) == scene.zone)
    if scene.relation:
        first, second = found[scene.subject], found[1 - scene.subject]
        held = first is not None and second is not None and first.colour == scene.things[scene.subject].colour
        held = held and second is not None and second.colour == scene.things[1 - scene.subject].colour
        held = held and relation_holds(scene.relation, first, second)  # type: ignore[arg-type]
        tally.add("place", bool(held))
    tally.add("count", len(seen.blobs) == len(scene.things))


def judge_all(scenes: Iterable[Scene], pictures: Iterable[np.ndarray]) -> Tally:
    """The tally of many pictures (side, side, 3) uint8 against what each should show."""
    tally = Tally()
    for scene, picture in zip(scenes, pictures, strict=True):
        judge_scene(tally, scene, judge.look(picture))
    return tally
