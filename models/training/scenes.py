"""Captioned scenes of coloured shapes: what is in a picture, sampled from a seed.

A scene lives on the unit square: x to the right, y down, radii as a share of the side. It is drawn by
`draw.py` at any size and put into words by `captions.py`. Combinations of (object colour, shape,
background colour) that `held_out` names never occur in training scenes, in any kind of scene.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "orange": (247, 142, 24),
    "yellow": (250, 224, 52),
    "green": (36, 158, 66),
    "blue": (38, 82, 216),
    "purple": (126, 44, 168),
    "pink": (250, 152, 198),
    "white": (246, 246, 246),
    "black": (18, 18, 18),
    "gray": (128, 128, 128),
}
COLOURS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
STYLES = ("plain", "gradient", "striped")
KINDS = ("single", "pair", "overlap", "count")
RELATIONS = ("left of", "right of", "above", "below")
HELD_OUT_SHARE = 10  # one combination in ten

# Zone name -> centre on the unit square.
ZONES: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "left": (0.26, 0.5),
    "right": (0.74, 0.5),
    "top": (0.5, 0.26),
    "bottom": (0.5, 0.74),
    "top left": (0.26, 0.26),
    "top right": (0.74, 0.26),
    "bottom left": (0.26, 0.74),
    "bottom right": (0.74, 0.74),
}


@dataclass(frozen=True)
class Thing:
    """One object: centre, radius and nearness (0 far, 1 near) in unit-square terms, its exact RGB."""

    shape: str
    colour: str
    rgb: tuple[int, int, int]
    x: float
    y: float
    radius: float
    nearness: float


@dataclass(frozen=True)
class Scene:
    """A background and things, back to front. `relation` and `zone` say what a caption may claim.

    In a pair, `things[subject]` stands in `relation` to the other one.
    """

    kind: str
    background: str
    background_rgb: tuple[int, int, int]
    style: str
    things: tuple[Thing, ...]
    zone: str | None = None
    size: str | None = None
    relation: str | None = None
    subject: int = 0


def held_out(colour: str, shape: str, background: str) -> bool:
    """Whether this combination is kept from training (stable: a checksum of the three words)."""
    return zlib.crc32(f"{colour}|{shape}|{background}".encode()) % HELD_OUT_SHARE == 0


def is_held_out(scene: Scene) -> bool:
    """Whether any thing of the scene is a held-out combination."""
    return any(held_out(t.colour, t.shape, scene.background) for t in scene.things)


def _jitter(rng: np.random.Generator, colour: str) -> tuple[int, int, int]:
    """The palette colour, a few levels off in each channel."""
    level = np.clip(np.array(PALETTE[colour]) + rng.integers(-8, 9, 3), 0, 255)
    return int(level[0]), int(level[1]), int(level[2])


def _nearness(radius: float) -> float:
    """Bigger is nearer: the only cue to depth that a single flat shape gives."""
    return float(np.clip(0.2 + 2.2 * radius, 0.0, 0.9))


def _thing(
    rng: np.random.Generator,
    look: tuple[str, str],
    centre: tuple[float, float],
    radius: float,
    nearness: float | None = None,
) -> Thing:
    """A thing of (colour, shape) kept wholly inside the picture."""
    colour, shape = look
    margin = radius + 0.015
    x, y = (float(np.clip(c, margin, 1 - margin)) for c in centre)
    near = _nearness(radius) if nearness is None else nearness
    return Thing(shape, colour, _jitter(rng, colour), x, y, radius, near)


def _pick(rng: np.random.Generator, words: tuple[str, ...], *but: str) -> str:
    left = [w for w in words if w not in but]
    return left[int(rng.integers(len(left)))]


def _single(rng: np.random.Generator, background: str) -> tuple[tuple[Thing, ...], dict[str, str | int | None]]:
    """One thing: anywhere, or in a zone; of any size, or small or large by name."""
    look = (_pick(rng, COLOURS, background), _pick(rng, SHAPES))
    size = (None, "small", "large")[int(rng.choice(3, p=[0.6, 0.2, 0.2]))]
    low, high = {None: (0.16, 0.25), "small": (0.11, 0.135), "large": (0.28, 0.33)}[size]
    radius = float(rng.uniform(low, high))
    zone = None
    centre = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8)))
    if rng.random() < 0.6:
        zone = _pick(rng, tuple(ZONES))
        cx, cy = ZONES[zone]
        centre = (cx + float(rng.uniform(-0.05, 0.05)), cy + float(rng.uniform(-0.05, 0.05)))
        if zone != "center" and radius > 0.24:
            radius, size = float(rng.uniform(0.16, 0.22)), None
    return (_thing(rng, look, centre, radius),), {"zone": zone, "size": size}


def _pair(rng: np.random.Generator, background: str) -> tuple[tuple[Thing, ...], dict[str, str | int | None]]:
    """Two things apart from each other along one axis."""
    looks: list[tuple[str, str]] = []
    for _ in range(2):
        looks.append((_pick(rng, COLOURS, background, *(c for c, _ in looks)), _pick(rng, SHAPES)))
    radii = rng.uniform(0.14, 0.2, 2)
    gap = float(rng.uniform(0.46, 0.56))
    along = 0.5 + float(rng.uniform(-0.03, 0.03))
    across = 0.5 + float(rng.uniform(-0.16, 0.16))
    slip = float(rng.uniform(-0.06, 0.06))
    first, second = (along - gap / 2, across + slip), (along + gap / 2, across - slip)
    relation = _pick(rng, RELATIONS)
    if relation in ("above", "below"):
        first, second = first[::-1], second[::-1]
    if relation in ("right of", "below"):
        first, second = second, first
    things = tuple(_thing(rng, look, c, float(r)) for look, c, r in zip(looks, (first, second), radii, strict=True))
    return things, {"relation": relation}


def _overlap(rng: np.random.Generator, background: str) -> tuple[tuple[Thing, ...], dict[str, str | int | None]]:
    """A smaller thing in front of a larger one; the front one hides part of the back one."""
    back_look = (_pick(rng, COLOURS, background), _pick(rng, ("circle", "square", "triangle")))
    front_look = (_pick(rng, COLOURS, background, back_look[0]), _pick(rng, SHAPES))
    centre = rng.uniform(0.42, 0.58, 2)
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.16)
    front_centre = (float(centre[0] + away * np.cos(angle)), float(centre[1] + away * np.sin(angle)))
    back = _thing(rng, back_look, (float(centre[0]), float(centre[1])), float(rng.uniform(0.29, 0.34)), 0.45)
    front = _thing(rng, front_look, front_centre, float(rng.uniform(0.14, 0.18)), 0.95)
    if rng.random() < 0.5:
        return (back, front), {"relation": "in front of", "subject": 1}
    return (back, front), {"relation": "behind", "subject": 0}


def _count(rng: np.random.Generator, background: str) -> tuple[tuple[Thing, ...], dict[str, str | int | None]]:
    """Two to four alike, on a jittered grid of four places."""
    look = (_pick(rng, COLOURS, background), _pick(rng, SHAPES))
    number = int(rng.integers(2, 5))
    places = [(x, y) for x in (0.27, 0.73) for y in (0.27, 0.73)]
    chosen = rng.permutation(4)[:number]
    radius = float(rng.uniform(0.12, 0.17))
    things = tuple(
        _thing(rng, look, (places[i][0] + d[0], places[i][1] + d[1]), radius)
        for i, d in zip(chosen, rng.uniform(-0.04, 0.04, (number, 2)), strict=True)
    )
    return things, {}


_MAKERS = {"single": _single, "pair": _pair, "overlap": _overlap, "count": _count}
_SHARES = (0.45, 0.33, 0.12, 0.10)


def sample(rng: np.random.Generator, kind: str | None = None) -> Scene:
    """Any scene, held out or not."""
    chosen = kind or KINDS[int(rng.choice(len(KINDS), p=_SHARES))]
    background = _pick(rng, COLOURS)
    style = STYLES[int(rng.choice(3, p=[0.7, 0.15, 0.15]))]
    things, said = _MAKERS[chosen](rng, background)
    rgb = _jitter(rng, background)
    return Scene(chosen, background, rgb, style, things, **said)  # type: ignore[arg-type]


def stream(seed: int, *, training: bool, kind: str | None = None) -> Iterator[Scene]:
    """Endless scenes of one seed: for training those without, for trials those with a held-out thing."""
    rng = np.random.default_rng(seed)
    while True:
        scene = sample(rng, kind)
        if is_held_out(scene) != training:
            yield scene
