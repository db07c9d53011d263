"""The examples of weights, LoRAs and embeddings, planned and rendered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plain_diffusers import MARKS

from orchestrator.manifests import Faults, ManifestOptions, read
from orchestrator.planner.resolve import limits_broken, resolve
from services.catalogue import Catalogue
from workers.engines.base import Slot

pytestmark = MARKS

EXAMPLES = Path(__file__).parents[4] / "examples"


@pytest.fixture(scope="module")
def pictures(room: Any) -> Callable[[str], dict[str, bytes]]:
    """Of an example, by row id, the pixels of its rows."""

    def render(name: str) -> dict[str, bytes]:
        faults, catalogue, found = Faults(), Catalogue.load(), {}
        for authored in read(EXAMPLES / name, ManifestOptions(defaults={"steps": 2}), faults):
            assert list(limits_broken(authored.row, catalogue=catalogue, inputs={})) == []
            row = resolve(authored.row, index=authored.position, job="job", catalogue=catalogue, inputs={})
            found[row.id] = room.render([Slot(row, 0, row.seed)], lambda: None)[0].pixels.tobytes()
        faults.raise_if_any()
        assert faults.warnings.total == 0
        return found

    return render


def test_weights_change_the_picture(pictures: Callable[[str], dict[str, bytes]]) -> None:
    found = pictures("weighting.jsonl")
    assert len(set(found.values())) == len(found) == 5


def test_loras_change_the_picture_by_their_weight(pictures: Callable[[str], dict[str, bytes]]) -> None:
    found = pictures("lora.jsonl")
    assert found["none"] == found["without"]
    assert found["webui"] == found["half"]
    assert len(set(found.values())) == len(found) - 2
