"""A manifest, validated."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.manifests.options import ManifestOptions
from orchestrator.submit import SubmitRequest, ValidationReport, validate
from services.catalogue import Catalogue
from services.settings import Settings


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def document(tmp_path: Path, catalogue: Catalogue, settings: Settings, no_hub: Path) -> Any:
    """What `validate` reports of a YAML document."""

    def check(text: str, **changes: Any) -> ValidationReport:
        path = tmp_path / "m.yaml"
        path.write_text(text)
        return validate(SubmitRequest(path=path, options=ManifestOptions(), **changes), catalogue, settings)

    return check


@pytest.fixture
def report(tmp_path: Path, catalogue: Catalogue, settings: Settings, no_hub: Path) -> Any:
    """What `validate` reports of rows of JSON Lines."""

    def check(*rows: dict[str, Any], **changes: Any) -> ValidationReport:
        path = tmp_path / "m.jsonl"
        path.write_text("".join(json.dumps({"prompt": "a fox", "model": "sd15"} | row) + "\n" for row in rows))
        return validate(SubmitRequest(path=path, options=ManifestOptions(), **changes), catalogue, settings)

    return check
