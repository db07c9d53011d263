"""The published JSON Schema takes what the examples say, and marks what the readers would refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from orchestrator.manifests.json_schema import document_schema, rows_schema
from orchestrator.manifests.names import COLUMN_FIELDS, SYNONYMS
from schemas.rows import ROW_TYPES, STAGE_TYPES
from schemas.samplers import SCHEDULERS

EXAMPLES = Path(__file__).parents[4] / "examples"
ROWS = Draft202012Validator(rows_schema())
DOCUMENTS = Draft202012Validator(document_schema())
MINIMAL: dict[str, dict[str, Any]] = {
    "txt2img": {"prompt": "a fox"},
    "img2img": {"image": "a.png"},
    "inpaint": {"image": "a.png", "mask": "b.png"},
    "upscale": {"image": "a.png"},
    "depth2img": {"image": "a.png"},
}


def faults(validator: Draft202012Validator, value: object) -> list[str]:
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(value)]


def example_rows() -> list[Any]:
    return [
        pytest.param(json.loads(line), id=f"{path.name}-{number}")
        for path in sorted(EXAMPLES.glob("*.jsonl"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
    ]


def example_documents() -> list[Path]:
    return sorted([*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("*.yml"), *EXAMPLES.glob("*.json")])


def test_both_are_schemas() -> None:
    Draft202012Validator.check_schema(rows_schema())
    Draft202012Validator.check_schema(document_schema())


@pytest.mark.parametrize("row", example_rows())
def test_every_row_of_the_examples_is_valid(row: dict[str, Any]) -> None:
    assert faults(ROWS, row) == []


@pytest.mark.parametrize("path", example_documents(), ids=lambda path: path.name)
def test_every_document_of_the_examples_is_valid_and_names_the_schema(path: Path) -> None:
    text = path.read_text()
    assert faults(DOCUMENTS, yaml.safe_load(text)) == []
    assert "$schema" in text[:100]
    assert "../docs/schema/document.json" in text[:100]


@pytest.mark.parametrize("pipeline", ROW_TYPES)
def test_the_least_row_of_each_pipeline_is_valid_and_lacks_what_it_needs_without(pipeline: str) -> None:
    row = {"pipeline": pipeline, "model": "tiny"} | MINIMAL[pipeline]
    assert faults(ROWS, row) == []
    for needed in MINIMAL[pipeline]:
        assert faults(ROWS, {name: value for name, value in row.items() if name != needed}) != []


def test_every_field_and_every_name_for_one_is_described() -> None:
    properties, definitions = rows_schema()["properties"], rows_schema()["$defs"]
    assert set(properties) == COLUMN_FIELDS | set(SYNONYMS)
    assert [name for name in COLUMN_FIELDS if not definitions[f"field.{name}"].get("description")] == []
    for stage in STAGE_TYPES.values():
        assert stage.model_fields.keys() <= definitions[stage.__name__]["properties"].keys()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_is_proposed(name: str) -> None:
    assert faults(ROWS, {"prompt": "a", "scheduler": name}) == []


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "seed": -1, "cfg_scale": 7, "sampler": "DPM++ 2M Karras", "n_iter": 2},
        {"prompt": "a", "scheduler": "DPM++ 2M Karras", "negative_prompt": None, "id": 42, "mine": {"a": [1]}},
        {"init_image": "a.png", "prompt": "", "denoising_strength": 0.5},
        {"pipeline": "img2img", "init_image": "a.png"},
        {"prompt": "a", "loras": [{"name": "x", "weight": 0.5}, "y:0.2"], "embeddings": ["z"]},
        {"prompt": "a", "loras": "x:0.5, y", "then": [{"pipeline": "upscale", "noise_level": 5}], "keep": "all"},
        {"prompt": "a", "then": [{"pipeline": "img2img", "denoising_strength": 0.5, "sampler": "Euler a"}]},
        {"id": "夜 1", "prompt": "a"},
    ],
)
def test_what_the_readers_take_is_valid(row: dict[str, Any]) -> None:
    assert faults(ROWS, row) == []


@pytest.mark.parametrize(
    "row",
    [
        {"model": "tiny"},
        {"prompt": " "},
        {"prompt": "a", "strength": 0.5},
        {"prompt": "a", "image": "a.png"},
        {"pipeline": "upscale", "image": "a.png", "width": 512},
        {"pipeline": "img2img", "prompt": "a"},
        {"pipeline": "txt2video", "prompt": "a"},
        {"prompt": "a", "width": 500},
        {"prompt": "a", "steps": 0},
        {"prompt": "a", "steps": "many"},
        {"prompt": "a", "scheduler": "eulr"},
        {"prompt": "a", "format": "gif"},
        {"prompt": "a", "id": "../a"},
        {"prompt": "a", "then": [{"pipeline": "txt2img"}]},
        {"prompt": "a", "then": [{"pipeline": "upscale", "strength": 0.5}]},
        {"prompt": "a", "loras": [{"name": "x", "weight": 100}]},
        ["a"],
    ],
)
def test_what_the_readers_refuse_is_marked(row: object) -> None:
    assert faults(ROWS, row) != []


@pytest.mark.parametrize(
    "document",
    [
        ["a fox", {"prompt": "a"}],
        {"rows": ["a fox"], "$schema": "x.json", "defaults": {"model": "tiny", "strength": 0.5, "mine": 1}},
        {"space": {"seed": "1-5", "steps": [4, "10-20:5"], "scheduler": ["euler", None], "shape": ["a"]}, "rows": None},
        {"space": {"prompt": ["a", "b"], "width": 512}, "combine": "prompt * width"},
        {"rows": [{"prompt": "a {b|c}", "template": "dynamic", "space": {"seed": "1-2"}, "combine": "seed"}]},
        {"rows": [{"pipeline": "upscale", "image": "a.png", "noise_level": 5}]},
    ],
)
def test_documents(document: object) -> None:
    assert faults(DOCUMENTS, document) == []


@pytest.mark.parametrize(
    "document",
    [
        "a fox",
        {"row": ["a fox"]},
        {"rows": "a fox"},
        {"rows": [5]},
        {"defaults": {"steps": 0}},
        {"space": ["seed"]},
        {"space": {"steps": [0]}},
        {"space": {"scheduler": ["eulr"]}},
        {"rows": [{"pipeline": "upscale", "image": "a.png", "strength": 0.5}]},
        {"rows": [{"prompt": "a", "template": "jinja"}]},
    ],
)
def test_documents_that_are_wrong_are_marked(document: object) -> None:
    assert faults(DOCUMENTS, document) != []
