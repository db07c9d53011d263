"""The manifests under `examples/` are sound."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.manifests import Faults, InputImages, ManifestOptions, Tally, read
from schemas.rows import PIPELINES
from services.input_images import ImageLimits

EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.mark.parametrize(
    ("name", "rows", "options"),
    [
        ("demo.jsonl", 8, {}),
        ("chains.jsonl", 4, {}),
        ("prompts.txt", 4, {"defaults": {"model": "tiny"}}),
        ("products.csv", 4, {"defaults": {"model": "tiny"}}),
        ("weighting.jsonl", 5, {}),
        ("lora.jsonl", 7, {}),
        ("grid.yaml", 60, {}),
        ("sizes.json", 10, {}),
        ("denoise.yaml", 9, {}),
        ("templates.yaml", 15, {}),
        ("a1111.txt", 4, {"format": "a1111", "defaults": {"model": "tiny"}}),
        ("benchmark.tsv", 3, {"defaults": {"model": "tiny"}, "column_map": {"prompt": "Prompt"}}),
    ],
)
def test_an_example_has_no_fault(name: str, rows: int, options: dict[str, Any]) -> None:
    faults = Faults()
    checked = InputImages(EXAMPLES, ImageLimits()).attach(
        read(EXAMPLES / name, ManifestOptions(**options), faults), faults
    )
    assert len(list(checked)) == rows
    faults.raise_if_any()


def test_the_demo_has_all_pipelines() -> None:
    faults, tally = Faults(), Tally()
    for _ in tally.count(read(EXAMPLES / "demo.jsonl", ManifestOptions(), faults)):
        pass
    assert set(tally.summary().pipelines) == set(PIPELINES)


def test_example_inputs_stay_small() -> None:
    assert sum(path.stat().st_size for path in (EXAMPLES / "inputs").iterdir()) < 50_000
