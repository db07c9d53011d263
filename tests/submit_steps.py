"""Steps that many tests of submit take."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.manifests.options import ManifestOptions
from orchestrator.submit import SubmitRequest
from services import jobs
from services.store import ObjectStore

ROWS: list[dict[str, Any]] = [
    {"prompt": "a cat", "id": "cat", "width": 64, "height": 64},
    {"prompt": "猫 🐈", "steps": 2, "note": {"nested": [1, None]}},
    {"prompt": "two dogs", "num_images": 2},
]


def manifest(folder: Path, rows: list[dict[str, Any]], name: str = "m.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def request(path: Path, **changes: Any) -> SubmitRequest:
    options = ManifestOptions(defaults={"model": "tiny", "steps": 4})
    return replace(SubmitRequest(path=path, options=options, job_id="job"), **changes)


def rows_of(store: ObjectStore, job: str = "job") -> list[Any]:
    return sorted(jobs.read_plan_part(store, job, 0), key=lambda row: row.index)
