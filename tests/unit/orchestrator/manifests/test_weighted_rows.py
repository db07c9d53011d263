"""Rows with weights, LoRAs and embeddings, as their manifest's reader sees them."""

import json
import subprocess
import sys
from typing import Any

import pytest
from manifest_files import Reader

from schemas.adapters import LoraUse


def jsonl(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps({"prompt": "a fox"} | row) for row in rows)


def test_loras_in_a_prompt_become_the_rows(manifest: Reader) -> None:
    found = manifest(
        "a.jsonl", jsonl({"prompt": "a <lora:x:0.8> (fox:1.2)", "weighting": "a1111", "loras": [{"name": "y"}]})
    )
    (row,) = (authored.row for authored in found.rows)
    assert row.prompt == "a  (fox:1.2)"
    assert row.loras == (LoraUse(name="y"), LoraUse(name="x", weight=0.8))
    assert found.texts == []


@pytest.mark.parametrize("weighting", [{}, {"weighting": "compel"}])
def test_elsewhere_they_are_text(manifest: Reader, weighting: dict[str, Any]) -> None:
    found = manifest("a.jsonl", jsonl({"prompt": "a <lora:x:0.8> fox", **weighting}))
    (row,) = (authored.row for authored in found.rows)
    assert (row.prompt, row.loras) == ("a <lora:x:0.8> fox", None)


def test_a_table_names_them_in_a_cell(manifest: Reader) -> None:
    found = manifest("a.csv", 'prompt,loras,embeddings,weighting\na fox,"x:0.8, y",word,\na (word)1.2,,word,compel\n')
    first, second = (authored.row for authored in found.rows)
    assert first.loras == (LoraUse(name="x", weight=0.8), LoraUse(name="y"))
    assert (first.embeddings, first.weighting) == (("word",), None)
    assert (second.loras, second.weighting) == (None, "compel")


def test_a_stage_has_its_own_prompt_and_loras(manifest: Reader) -> None:
    stage = {"pipeline": "img2img", "prompt": "a hen <lora:z:0.2>", "strength": 0.5}
    found = manifest("a.jsonl", jsonl({"weighting": "a1111", "then": [stage]}))
    (row,) = (authored.row for authored in found.rows)
    assert (row.then[0].prompt, row.then[0].loras) == ("a hen", (LoraUse(name="z", weight=0.2),))
    assert row.loras is None


def test_a_stage_that_reads_the_rows_prompt_in_its_own_way_has_the_loras_in_it(manifest: Reader) -> None:
    stage = {"pipeline": "img2img", "weighting": "a1111"}
    prompt = "a <lora:x:0.8> fox"
    found = manifest("a.jsonl", jsonl({"prompt": prompt, "loras": "y", "then": [stage, {"pipeline": "img2img"}]}))
    (row,) = (authored.row for authored in found.rows)
    assert (row.prompt, row.loras) == (prompt, (LoraUse(name="y"),))
    assert (row.then[0].prompt, row.then[0].loras) == ("a  fox", (LoraUse(name="y"), LoraUse(name="x", weight=0.8)))
    assert (row.then[1].prompt, row.then[1].loras) == (None, None)


def test_a_stage_in_compels_syntax_reads_what_the_row_left_of_its_prompt(manifest: Reader) -> None:
    stage = {"pipeline": "img2img", "weighting": "compel"}
    found = manifest("a.jsonl", jsonl({"prompt": "a <lora:x:0.8> fox", "weighting": "a1111", "then": [stage]}))
    (row,) = (authored.row for authored in found.rows)
    assert (row.prompt, row.then[0].prompt, row.then[0].loras) == ("a  fox", None, None)
    assert found.faults.warnings.total == 0


def test_a_prompt_of_loras_alone_is_enough_where_an_image_is_given(manifest: Reader) -> None:
    row = {"pipeline": "img2img", "image": "a.png", "weighting": "a1111", "prompt": "<lora:x:1>"}
    found = manifest("a.jsonl", jsonl(row))
    assert [authored.row.prompt.strip() for authored in found.rows] == [""]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"weighting": "a1111", "prompt": "(a:99)"}, "line 1, prompt = (a:99): weight 99: from -10 to 10"),
        ({"weighting": "a1111", "prompt": "<lora:x:y>"}, "<lora:x:y> is not <lora:NAME:WEIGHT>, weight from -10 to 10"),
        (
            {"weighting": "a1111", "prompt": "<lora:x:1>", "loras": "x"},
            "loras: LoRA x stands in the prompt and in loras",
        ),
        ({"weighting": "compel", "prompt": '("a", "b").blend(1)'}, ".blend(...) has 1 weights for 2 prompts"),
        ({"weighting": "compel", "negative_prompt": "a.swap(b)"}, ".swap() needs a hold on attention"),
        ({"weighting": "wildcards"}, "weighting = wildcards: expected one of compel, a1111"),
        ({"loras": "x:strong"}, "expected up to 16 names of LoRAs in the catalogue"),
        ({"embeddings": "a b"}, "expected up to 16 names of embeddings in the catalogue"),
        (
            {"weighting": "a1111", "then": [{"pipeline": "img2img", "prompt": "(a:99)"}]},
            "line 1, then[0].prompt = (a:99): weight 99",
        ),
        (
            {"prompt": "(a:99)", "then": [{"pipeline": "img2img", "weighting": "a1111"}]},
            "line 1, prompt = (a:99): weight 99: from -10 to 10, as then[0] has weighting: a1111",
        ),
        ({"weighting": "a1111", "prompt": " <lora:x:1> "}, "prompt =  <lora:x:1> : nothing stands in it beside <lora"),
    ],
)
def test_faults(manifest: Reader, row: dict[str, Any], fault: str) -> None:
    found = manifest("a.jsonl", jsonl(row))
    (told,) = found.texts
    assert fault in told
    assert found.rows == []


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        ({"weighting": "a1111", "prompt": "a [cat|dog]"}, "line 1, prompt = a [cat|dog]: alternation"),
        ({"weighting": "a1111", "negative_prompt": "<lora:x:1>"}, "in a negative prompt is text"),
        ({"weighting": "compel", "prompt": "a (cat:1.2)"}, "(word:1.3) is text to compel"),
        ({"embeddings": "word"}, "embedding word stands in no prompt"),
    ],
)
def test_warnings_name_the_line(manifest: Reader, row: dict[str, Any], warning: str) -> None:
    found = manifest("a.jsonl", jsonl(row))
    assert len(found.rows) == 1
    (told,) = (str(one) for one in found.faults.warnings.kept)
    assert warning in told


def test_reading_them_needs_no_torch() -> None:
    code = (
        "import sys; import orchestrator.manifests.weighted, orchestrator.planner.adapters; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'compel', 'diffusers', 'pyparsing')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
