"""Scenes as pixels: colours, and nearness (what a depth estimator should say)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.training.scenes import Scene, Thing

OVERSAMPLE = 4  # drawn this much larger, then averaged: smooth edges
STRIPES = 8  # per side
Point = tuple[float, float]


def _star() -> list[Point]:
    points = []
    for k in range(10):
        reach = 1.0 if k % 2 == 0 else 0.42
        angle = math.pi * k / 5
        points.append((reach * math.sin(angle), 0.05 - reach * math.cos(angle)))
    return points


# Corners on the disc of radius one around the thing's centre, y down.
POLYGONS: dict[str, list[Point]] = {
    "square": [(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)],
    "triangle": [(0.0, -0.9), (0.98, 0.8), (-0.98, 0.8)],
    "star": _star(),
    "cross": [
        (-0.32, -0.96), (0.32, -0.96), (0.32, -0.32), (0.96, -0.32), (0.96, 0.32), (0.32, 0.32),
        (0.32, 0.96), (-0.32, 0.96), (-0.32, 0.32), (-0.96, 0.32), (-0.96, -0.32), (-0.32, -0.32),
    ],
}  # fmt: skip
RING_HOLE = 0.5  # inner radius of a ring


def thing_mask(thing: Thing, size: int) -> Image.Image:
    """The thing's area as an `L` picture of size x size, 0 or 255, not smoothed."""
    mask = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(mask)
    x, y, r = thing.x * size, thing.y * size, thing.radius * size
    if thing.shape in POLYGONS:
        pen.polygon([(x + r * u, y + r * v) for u, v in POLYGONS[thing.shape]], fill=255)
        return mask
    pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    if thing.shape == "ring":
        hole = r * RING_HOLE
        pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    return mask


def _background(scene: Scene, size: int) -> Image.Image:
    """Plain; a gradient from lighter (top) to darker; or stripes of two close tones (rows)."""
    if scene.style == "plain":
        return Image.new("RGB", (size, size), scene.background_rgb)
    rows = (np.arange(size) + 0.5) / size
    tone = 1 - 2 * rows if scene.style == "gradient" else np.where((rows * STRIPES).astype(int) % 2, 1.0, -1.0)
    reach = 26.0 if scene.style == "gradient" else 15.0
    column = np.array(scene.background_rgb)[None, :] + reach * tone[:, None]
    column = np.clip(column, 0, 255).round().astype(np.uint8)
    return Image.fromarray(np.broadcast_to(column[:, None, :], (size, size, 3)).copy())


def draw(scene: Scene, size: int, oversample: int = OVERSAMPLE) -> NDArray[np.uint8]:
    """The picture, (size, size, 3) uint8."""
    picture = _background(scene, size * oversample)
    for thing in scene.things:
        picture.paste(thing.rgb, mask=thing_mask(thing, size * oversample))
    return np.asarray(picture.reduce(oversample))


def nearness(scene: Scene, size: int) -> NDArray[np.float32]:
    """(size, size) float32 in 0..1: 0 for the background, each thing's own nearness where it is seen."""
    out: NDArray[np.float32] = np.zeros((size, size), np.float32)
    for thing in scene.things:
        share = np.asarray(thing_mask(thing, size * 2).reduce(2), np.float32) / 255
        out = (out * (1 - share) + thing.nearness * share).astype(np.float32)
    return out


def area(thing: Thing, size: int) -> NDArray[np.bool_]:
    """(size, size) bool: where the thing is, as if nothing stood before it."""
    return np.asarray(thing_mask(thing, size * OVERSAMPLE).reduce(OVERSAMPLE)) > 127
