"""Manifests of any length for benchmarks: the same rows in every format, and a sweep of as many combinations."""

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = """a the red blue cat dog house mountain photo of painting in style oil light dark forest sea river detailed
portrait girl man robot city night sky stars cinematic 8k masterpiece sharp focus volumetric"""
_BATCH = 50_000


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows as people write them: an id, 8 to 25 words, a seed, a size, 20 or 30 steps, a column of theirs."""
    seeded, words = random.Random(1), TEXT.split()
    for number in range(count):
        yield {
            "id": f"row-{number}",
            "prompt": " ".join(seeded.choices(words, k=seeded.randint(8, 25))),
            "seed": seeded.randrange(2**32),
            "width": 512,
            "height": 512,
            "steps": seeded.choice((20, 30)),
            "category": seeded.choice("abc"),
        }


def write(path: Path, count: int) -> Path:
    """Write `count` rows in the format that the file's name says."""
    {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".yaml": _sweep}[path.suffix](path, count)
    return path


def _jsonl(path: Path, count: int) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(count))


def _csv(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(next(rows(1))))
        writer.writeheader()
        writer.writerows(rows(count))


def _parquet(path: Path, count: int) -> None:
    made = rows(count)
    schema = pa.Table.from_pylist(list(rows(1))).schema
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, _BATCH):
            batch = [next(made) for _ in range(min(_BATCH, count - start))]
            writer.write_table(pa.Table.from_pylist(batch, schema))


def _sweep(path: Path, count: int) -> None:
    path.write_text(
        f"""defaults:
  model: tiny
  prompt: a lighthouse in a storm, oil painting
  width: 512
  height: 512
space:
  steps: [20, 30]
  guidance_scale: 3-7
  seed: 1-{max(count // 10, 1)}
"""
    )
