"""How long the shipped models were trained, kept beside them: `training.json`, {stage: {"steps": n, "hours": h}}."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from models.training import loop

NAME = "training.json"
BEGUN = "source.json"  # in a work folder
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


def begin(work: Path, source: Path | None, models: str | None, anew: Collection[str] = ()) -> None:
    """Note in a work folder what its training goes on from: the models at `source`, of which `models` is the digest.

    Args:
        anew: stages that do not go on from there. They stay so for the folder's later runs.

    Raises:
        OtherTraining: the folder holds a training that went on from others; its checkpoints would be taken
            for those of this one.
    """
    path = work / BEGUN
    if path.exists():
        begun = json.loads(path.read_text())
        if begun["models"] != models:
            raise loop.OtherTraining(
                f"{work} holds a training that went on from other models than {source}: name a new folder"
            )
    else:
        work.mkdir(parents=True, exist_ok=True)
        begun = {"models": models, "spent": read(source) if source is not None else {}}
    begun["anew"] = sorted({*begun.get("anew", ()), *anew})
    path.write_text(json.dumps(begun, indent=2) + "\n")


def write(models: Path, work: Path, stages: Sequence[str], going_on: Collection[str]) -> None:
    """Write what all stages took; of those `going_on` from earlier models, with what these had taken."""
    begun = json.loads((work / BEGUN).read_text())
    earlier: Spent = begun["spent"]
    sums = dict(earlier)
    for stage, more in _here(work, stages).items():
        before = earlier.get(stage) if stage in going_on and stage not in begun["anew"] else None
        sums[stage] = {k: round(more[k] + (before[k] if before else 0), 2) for k in more}
    (models / NAME).write_text(json.dumps(sums, indent=2) + "\n")
