"""What `models check` says of a source: whether another pull may bring other files."""

import pytest

from schemas.catalogue import ModelEntry
from workers.models.inspection import inspect_model, why_it_moves

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_commit_does_not_move() -> None:
    assert why_it_moves(COMMIT, COMMIT) == ""
    assert why_it_moves(COMMIT, None) == ""


@pytest.mark.parametrize("revision", ["main", None, "fp16", COMMIT[:12], "refs/pr/7"])
def test_anything_else_does_and_the_commit_that_is_here_is_told(revision: str | None) -> None:
    assert why_it_moves(revision, None) == f"{revision or 'main'} is a branch: its files can change"
    assert why_it_moves(revision, COMMIT).endswith(f'pin what is here with revision = "{COMMIT}"')


def test_of_a_model_only_hub_sources_move(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    hub = ModelEntry.model_validate(
        {"source": "owner/name", "revision": "main", "family": "sd1", "pipelines": ["txt2img"]}
    )
    (found,) = inspect_model("m", hub).sources
    assert found.moves == "main is a branch: its files can change"
    pinned = hub.model_copy(update={"revision": COMMIT})
    assert [source.moves for source in inspect_model("m", pinned).sources] == [""]
    built_in = hub.model_copy(update={"source": "builtin:tiny"})
    assert [source.moves for source in inspect_model("m", built_in).sources] == [""]
