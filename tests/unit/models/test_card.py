"""The card of the built-in models can be written for what ships."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from models.training import card, evaluate, record

pytestmark = pytest.mark.engine


def test_the_card_tells_every_figure_and_every_stage(tmp_path: Path) -> None:
    (tmp_path / record.NAME).write_text(json.dumps({"vae": {"steps": 1200, "hours": 0.5}}))
    text = card.text(tmp_path, {name: {"what": f"figure of {name}"} for name in evaluate.NAMES})
    assert "| vae | 1,200 | 0.50 |" in text
    assert all(f"figure of {name}" in text for name in evaluate.NAMES)
    assert "{" not in text
