"""A judge that measures pictures: what stands where, in which colour and shape. No model takes part.

Pixels are named by the nearest palette colour in CIE L*a*b*; what differs from the background and hangs
together is an object; its shape is the one whose outline, laid over it, overlaps most (intersection over union).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.training import draw
from models.training.scenes import COLOURS, PALETTE, SHAPES, Thing

BORDER = 3  # pixels
APART = 16.0  # distance in L*a*b* at which a pixel is no longer background
LEAST_AREA = 14  # pixels of the smallest object, at a side of 64
LEAST_OVERLAP = 0.6  # below this an outline is of no known shape
EIGHT = np.ones((3, 3), bool)
TWO = np.ones((2, 2), bool)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Blob:
    """One object as seen; lengths as shares of the side. `shape` is empty when it is like none."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    mask: Mask
    outline: Thing | None

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Seen:
    """What a picture shows."""

    background: str
    blobs: tuple[Blob, ...]


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB levels 0..255, (..., 3), to CIE L*a*b* under D65 (IEC 61966-2-1; CIE 15)."""
    level = rgb / 255.0
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@lru_cache(maxsize=1)
def _palette() -> NDArray[np.float64]:
    return lab(np.array([PALETTE[c] for c in COLOURS], float))


def names(colours: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number (in COLOURS) of the palette colour nearest to each L*a*b* colour."""
    distance = np.linalg.norm(colours[..., None, :] - _palette(), axis=-1)
    nearest: NDArray[np.intp] = distance.argmin(-1)
    return nearest


def _border(array: NDArray[np.generic]) -> NDArray[np.generic]:
    ring = np.ones(array.shape[:2], bool)
    ring[BORDER:-BORDER, BORDER:-BORDER] = False
    return array[ring]


def _foreground(colours: NDArray[np.float64], named: NDArray[np.intp], ground: int) -> Mask:
    """Pixels that differ from their row's background and from the background's colour."""
    is_ground = named == ground
    whole = np.median(colours[is_ground], axis=0)
    sides = np.r_[0 : BORDER + 1, -BORDER - 1 : 0]
    rows = np.stack(
        [
            np.median(c[sides][g[sides]], axis=0) if g[sides].sum() >= 3 else whole
            for c, g in zip(colours, is_ground, strict=True)
        ]
    )
    apart: Mask = np.linalg.norm(colours - rows[:, None, :], axis=-1) > APART
    return apart


def _main_colours(named: NDArray[np.intp], core: Mask) -> list[int]:
    """The colours that an object's inner pixels have: one, or two if one thing stands before another.

    Lines one pixel wide do not count: they are the smoothed seams between two colours.
    """
    counts = [int(ndimage.binary_opening(core & (named == k), TWO).sum()) for k in range(len(COLOURS))]
    if not any(counts):
        counts = [int((core & (named == k)).sum()) for k in range(len(COLOURS))]
    order = np.argsort(-np.array(counts), kind="stable")
    first, second = int(order[0]), int(order[1])
    return [first, second] if counts[second] >= max(LEAST_AREA, 0.03 * core.sum()) else [first]


def _inner(mask: Mask) -> Mask:
    """The mask without its smoothed rim, unless nothing would be left."""
    core: Mask = ndimage.binary_erosion(mask)
    return core if core.sum() >= 5 else mask


def _parts(mask: Mask, colours: NDArray[np.float64], named: NDArray[np.intp]) -> list[tuple[int, Mask]]:
    """(colour, mask) of the one or two things that a connected area holds."""
    core = _inner(mask)
    main = _main_colours(named, core)
    if len(main) == 1:
        return [(main[0], mask)]
    middles = np.stack([np.median(colours[core & (named == m)], axis=0) for m in main])
    nearest = np.linalg.norm(colours[:, :, None, :] - middles, axis=-1).argmin(-1)
    parts = []
    for k, colour in enumerate(main):
        opened = ndimage.binary_opening(mask & (nearest == k), TWO)
        parts.append((colour, opened))
    return [(c, m) for c, m in parts if m.sum() >= LEAST_AREA]


@lru_cache(maxsize=16)
def _extent(shape: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a shape of radius one."""
    corners = draw.POLYGONS.get(shape, [(-1.0, -1.0), (1.0, 1.0)])
    xs, ys = [p[0] for p in corners], [p[1] for p in corners]
    return min(xs), min(ys), max(xs), max(ys)


def overlap(a: Mask, b: Mask, ignore: Mask | None = None) -> float:
    """Intersection over union, but for the ignored pixels."""
    if ignore is not None:
        a, b = a & ~ignore, b & ~ignore
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else 0.0


def _outline(shape: str, box: tuple[float, float, float, float]) -> Thing:
    """The thing of this shape whose extent is nearest to a box (left, top, right, bottom as shares)."""
    left, top, right, bottom = _extent(shape)
    radius = ((box[2] - box[0]) / (right - left) + (box[3] - box[1]) / (bottom - top)) / 2
    x = (box[0] + box[2]) / 2 - radius * (left + right) / 2
    y = (box[1] + box[3]) / 2 - radius * (top + bottom) / 2
    return Thing(shape, "", (0, 0, 0), x, y, radius, 0.0)


def _fitted(start: Thing, mask: Mask, hidden: Mask | None, reach: float) -> tuple[float, Thing]:
    """Move and resize an outline, in steps from `reach` pixels down, as long as it covers the mask better."""
    size = len(mask)
    best, share = start, overlap(draw.area(start, size), mask, hidden)
    step = reach / size
    while step * size >= 0.4:
        moves = [(step, 0, 0), (-step, 0, 0), (0, step, 0), (0, -step, 0), (0, 0, step), (0, 0, -step)]
        tried = [replace(best, x=best.x + dx, y=best.y + dy, radius=max(0.05, best.radius + dr))
                 for dx, dy, dr in moves]  # fmt: skip
        found, thing = max(((overlap(draw.area(t, size), mask, hidden), t) for t in tried), key=lambda f: f[0])
        if found > share:
            share, best = found, thing
        else:
            step /= 2
    return share, best


def _best_shape(mask: Mask, hidden: Mask | None) -> tuple[float, Thing]:
    """(overlap, outline) of the shape that covers the mask best."""
    size = len(mask)
    ys, xs = np.nonzero(mask)
    box = (xs.min() / size, ys.min() / size, (xs.max() + 1) / size, (ys.max() + 1) / size)
    fits = [_fitted(_outline(shape, box), mask, hidden, 1.0 if hidden is None else 4.0) for shape in SHAPES]
    return max(fits, key=lambda f: f[0])


def _blob(colour: int, mask: Mask, hidden: Mask | None = None) -> tuple[float, Blob]:
    """(overlap with its best outline, the object)."""
    share, outline = _best_shape(mask, hidden)
    known = share >= LEAST_OVERLAP
    ys, xs = np.nonzero(mask)
    size = len(mask)
    x, y = (outline.x, outline.y) if known else ((xs.mean() + 0.5) / size, (ys.mean() + 0.5) / size)
    shape = outline.shape if known else ""
    return share, Blob(COLOURS[colour], shape, float(x), float(y), outline.radius, mask, outline)


def _blobs(parts: list[tuple[int, Mask]]) -> list[Blob]:
    """The object of a connected area, or its two: of these, the less complete one is partly hidden."""
    alone = [_blob(colour, mask) for colour, mask in parts]
    if len(alone) == 1:
        return [alone[0][1]]
    front, back = (0, 1) if alone[0][0] >= alone[1][0] else (1, 0)
    hidden = ndimage.binary_dilation(parts[front][1], EIGHT)
    return [alone[front][1], _blob(*parts[back], hidden)[1]]


def look(picture: NDArray[np.uint8]) -> Seen:
    """Measure a picture (side, side, 3) uint8, or a larger one at a side of 64."""
    factor = max(1, picture.shape[0] // 64)
    small = picture.reshape(picture.shape[0] // factor, factor, picture.shape[1] // factor, factor, 3)
    colours = lab(small.mean((1, 3)))
    named = names(colours)
    ground = int(np.bincount(_border(named).astype(int), minlength=len(COLOURS)).argmax())
    labels, count = ndimage.label(_foreground(colours, named, ground), EIGHT)
    blobs: list[Blob] = []
    for k in range(1, count + 1):
        mask = labels == k
        if mask.sum() >= LEAST_AREA:
            parts = _parts(mask, colours, named)
            blobs += _blobs(parts) if parts else []
    blobs.sort(key=lambda b: -b.area)
    return Seen(COLOURS[ground], tuple(blobs))
