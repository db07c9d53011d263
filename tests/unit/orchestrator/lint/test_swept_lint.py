"""Lint of documents: what one value does to many rows is told once, on its own line, and the rows are counted."""

from pathlib import Path
from typing import Any

import pytest
from lint_lines import texts
from PIL import Image

from orchestrator.lint.weights import WEIGHTED
from schemas.errors import ManifestError


def test_a_warning_of_a_sweep_is_told_once_where_its_value_stands(document: Any) -> None:
    found = document("""\
defaults:
  model: sd15
  prompt: a (fox:1.3)
space:
  width:
  - 64
  - 4096
  seed: 1-30
""")
    assert sorted(text.partition(" is ")[0] for text in texts(found)) == [
        "line 3, prompt: (fox:1.3)",
        "line 6, width = 64: 64 x 512",
        "line 6, width = 64: 64 x 512",
        "line 7, width = 4096: 4096 x 512",
        "line 7, width = 4096: 4096 x 512",
    ]
    rows = {(group.field, group.kind == WEIGHTED): (group.count, group.rows) for group in found.warnings}
    assert rows == {("width", False): rows["width", False], ("prompt", True): (1, 60)}
    assert sorted(group.rows for group in found.warnings) == [30, 30, 60, 60]
    assert all(text.endswith((" (30 rows)", " (60 rows)")) for text in texts(found))


def test_a_fault_of_the_planner_is_told_once_for_each_value_that_has_it(document: Any, tmp_path: Path) -> None:
    Image.new("RGB", (512, 512)).save(tmp_path / "a.png")
    with pytest.raises(ManifestError) as caught:
        document("""\
defaults: {model: sd15, prompt: a, pipeline: img2img, image: a.png}
space:
  steps: 1-3
  strength:
  - 0.1
  - 0.9
  seed: 1-30
""")
    assert caught.value.total == 4
    assert [str(fault).partition(" leave")[0] for fault in caught.value.faults] == [
        "line 5, strength = 0.1: 1 steps at strength 0.1",
        "line 5, strength = 0.1: 2 steps at strength 0.1",
        "line 5, strength = 0.1: 3 steps at strength 0.1",
        "line 6, strength = 0.9: 1 steps at strength 0.9",
    ]
    assert [fault.rows for fault in caught.value.faults] == [30] * 4


def test_an_input_image_that_all_rows_have_is_one_fault(document: Any) -> None:
    with pytest.raises(ManifestError) as caught:
        document("""\
defaults: {model: sd15, prompt: a, pipeline: img2img}
rows:
- image: missing.png
  space: {seed: 1-30}
""")
    (told,) = caught.value.faults
    assert (told.line, told.field, told.value, told.rows) == (3, "image", "missing.png", 30)


def test_rows_of_a_list_that_take_a_value_from_the_defaults_are_counted_too(document: Any) -> None:
    found = document("""\
defaults:
  model: sd-turbo
  steps: 50
rows:
- a fox
- a hen
- {prompt: a cat, steps: 2}
- {prompt: a dog, steps: 60}
""")
    assert sorted(text.partition(":")[0] + text[-9:] for text in texts(found)) == [
        "line 3, steps = 50 (2 rows)",
        "line 8, steps = 604 at most",
    ]


def test_stages_in_the_defaults_are_told_on_their_line(document: Any) -> None:
    found = document("""\
defaults:
  model: sd15
  prompt: a fox
  then: [{pipeline: img2img, model: sd-turbo, steps: 80}]
space: {seed: 1-30}
""")
    (told,) = texts(found)
    assert told.startswith("line 4, then[0].steps = 80: more steps than sd-turbo can use")
    assert told.endswith(" (30 rows)")


def test_the_same_image_twice_in_a_sweep_is_told_once(document: Any) -> None:
    found = document("defaults: {model: sd15, prompt: a}\nspace:\n  seed: [1, 1, 1, 2]\n")
    assert texts(found) == ["line 1: the same recipe and seed as an earlier row of this line (2 rows)"]


def test_values_without_an_end_keep_within_memory(document: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.manifests.faults._MOST_COUNTED", 10)
    found = document("defaults: {model: sd15, prompt: a, height: 64}\nspace: {width: 64-2048:8, seed: 1-2}\n")
    # The first ten are remembered, and told once; of those after them each row is told.
    small = next(group for group in found.warnings if group.kind.startswith("far smaller"))
    assert small.count > small.first[0].rows == 2
