"""How long the shipped models were trained, kept beside them: `training.json`, {stage: {"steps": n, "hours": h}}."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from models.training import loop

NAME = "training.json"
Spent = dict[str, dict[str, float]]


def read(models: Path) -> Spent:
    """What lies beside the models; empty if nothing does."""
    path = models / NAME
    return json.loads(path.read_text()) if path.exists() else {}


def _here(work: Path, stages: Sequence[str]) -> Spent:
    """Steps and hours in one work folder, from its checkpoints."""
    found: Spent = {}
    for stage in stages:
        steps, seconds = loop.progress(work, stage)
        if steps:
            found[stage] = {"steps": steps, "hours": round(seconds / 3600, 2)}
    return found


def write(models: Path, work: Path, stages: Sequence[str], source: Path | None) -> None:
    """Write the sum of this training and of the one that it went on from."""
    sums = read(source) if source is not None else {}
    for stage, more in _here(work, stages).items():
        before = sums.get(stage, {"steps": 0, "hours": 0.0})
        sums[stage] = {k: round(before[k] + more[k], 2) for k in more}
    (models / NAME).write_text(json.dumps(sums, indent=2) + "\n")
