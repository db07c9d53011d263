"""The training sets: scenes drawn beforehand into memory-mapped files, the same for the same seed."""

from __future__ import annotations

import hashlib
import itertools
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training import captions, draw, scenes

SIZE = 64  # side of a training picture, pixels
LARGE = 4 * SIZE  # side of an upscaled picture
TRAINING_SEED = 1
COUNT = 80_000  # scenes
CROPS = 8_000  # 64x64 pieces of pictures drawn at 256x256


@lru_cache(maxsize=1)
def training_scenes(count: int = COUNT) -> list[scenes.Scene]:
    """The training scenes; none holds a held-out combination."""
    return list(itertools.islice(scenes.stream(TRAINING_SEED, training=True), count))


def cached(path: Path, make: Any) -> NDArray[Any]:
    """The array at path, made first if it is not there; mapped, not read."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_suffix(".part.npy")
        np.save(half, make())
        half.replace(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def digest(*models: nn.Module) -> str:
    """Eight letters that name weights: what is made with them is stored under it, and not taken for that of others."""
    found = hashlib.sha256()
    for model in models:
        for tensor in model.state_dict().values():
            found.update(tensor.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()[:8]


def pictures(work: Path, count: int = COUNT) -> NDArray[np.uint8]:
    """(count, 64, 64, 3) uint8."""
    return cached(
        work / "data" / f"pictures-{count}.npy",
        lambda: np.stack([draw.draw(s, SIZE, 4) for s in training_scenes(count)]),
    )


def crops(work: Path, count: int = CROPS) -> NDArray[np.uint8]:
    """(count, 64, 64, 3) uint8: four pieces each of pictures drawn at 256x256, edges preferred."""

    def make() -> NDArray[np.uint8]:
        rng = np.random.default_rng(TRAINING_SEED + 1)
        out = []
        for scene in training_scenes(count // 4):
            large = draw.draw(scene, LARGE, 2)
            for _ in range(4):
                thing = scene.things[int(rng.integers(len(scene.things)))]
                x, y = (int((c + rng.uniform(-1, 1) * thing.radius) * LARGE) - SIZE // 2 for c in (thing.x, thing.y))
                x, y = (min(max(v, 0), LARGE - SIZE) for v in (x, y))
                out.append(large[y : y + SIZE, x : x + SIZE])
        return np.stack(out)

    return cached(work / "data" / f"crops-{count}.npy", make)


def caption_list(work: Path, count: int = COUNT) -> list[str]:
    """One caption of each training scene, decorations and stranger words included."""
    path = work / "data" / f"captions-{count}.json"
    if not path.exists():
        rng = np.random.default_rng(TRAINING_SEED + 2)
        lines = []
        for scene in training_scenes(count):
            words = captions.caption(rng, scene)
            lines.append(captions.with_strangers(rng, words) if rng.random() < 0.1 else words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(lines))
    return list(json.loads(path.read_text()))


def to_tensor(batch: NDArray[np.uint8], where: torch.device) -> Tensor:
    """(n, h, w, 3) uint8 to (n, 3, h, w) float32 in -1..1."""
    tensor = torch.from_numpy(np.array(batch)).to(where)
    return tensor.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)


def draw_batch(rng: torch.Generator, count: int, batch: int) -> NDArray[np.int64]:
    """Indices of a batch."""
    return torch.randint(count, (batch,), generator=rng).numpy()
