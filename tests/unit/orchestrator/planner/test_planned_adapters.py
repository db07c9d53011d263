"""LoRAs and embeddings in the plan: by one name each, and only where they fit."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.planner.resolve import limits_broken, resolve
from schemas.adapters import LoraUse
from schemas.planned import PlannedRow
from schemas.rows import ROW_ADAPTER
from services.catalogue import Catalogue

OWN = """
[loras.ink]
source = "./ink.safetensors"
family = "sd1"
aliases = ["ink-drawing"]

[loras.sharp]
source = "./sharp.safetensors"
family = "upscaler"

[embeddings.bad-hands]
source = "owner/name"
file = "bad-hands.safetensors"
family = "sd2"
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    path = tmp_path_factory.mktemp("catalogue") / "models.toml"
    path.write_text(OWN)
    return Catalogue.load(path)


def authored(**fields: Any) -> Any:
    return ROW_ADAPTER.validate_python({"pipeline": "txt2img", "prompt": "a fox", "model": "tiny", **fields})


def plan(catalogue: Catalogue, **fields: Any) -> PlannedRow:
    return resolve(authored(**fields), index=0, job="job", catalogue=catalogue, inputs={})


def faults(catalogue: Catalogue, **fields: Any) -> list[str]:
    return [
        f"{found.field}: {found.message}" for found in limits_broken(authored(**fields), catalogue=catalogue, inputs={})
    ]


def test_an_alias_plans_as_the_name_itself(catalogue: Catalogue) -> None:
    one, other = plan(catalogue, loras="ink-drawing:0.5"), plan(catalogue, loras="ink:0.5")
    assert one.loras == (LoraUse(name="ink", weight=0.5),)
    assert one.batch_key() == other.batch_key() != plan(catalogue).batch_key()
    assert one.batch_key() != plan(catalogue, loras="ink:0.6").batch_key()


def test_the_recipe_has_them_where_there_are_any(catalogue: Catalogue) -> None:
    recipe = plan(catalogue, loras="ink:0.5", embeddings="tiny-word", weighting="compel").recipe()
    assert recipe["loras"] == [{"name": "ink", "weight": 0.5}]
    assert (recipe["embeddings"], recipe["weighting"]) == (["tiny-word"], "compel")
    assert not {"loras", "embeddings", "weighting"} & set(plan(catalogue).recipe())


def test_weighting_is_no_part_of_the_batch_key(catalogue: Catalogue) -> None:
    """Prompts of one length share a loop, weighted or not; the worker parts those of different lengths."""
    assert plan(catalogue, weighting="compel").batch_key() == plan(catalogue).batch_key()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"loras": "inc"}, "loras: no LoRA 'inc' in the catalogue; did you mean ink"),
        (
            {"loras": "ink", "model": "tiny-xl"},
            "LoRA ink is for sd1 and does not fit model tiny-xl (sdxl); tiny-xl-lora",
        ),
        ({"loras": "ink, ink-drawing"}, "LoRA ink is named twice"),
        ({"embeddings": "bad-hand"}, "no embedding 'bad-hand' in the catalogue; did you mean bad-hands"),
        ({"embeddings": "bad-hands"}, "embedding bad-hands is for sd2 and does not fit model tiny (sd1)"),
        ({"then": [{"pipeline": "upscale", "loras": "ink"}]}, "then[0].loras: LoRA ink is for sd1 and does not fit"),
    ],
)
def test_what_does_not_fit_is_a_fault(catalogue: Catalogue, fields: dict[str, Any], told: str) -> None:
    (fault,) = faults(catalogue, **fields)
    assert told in fault


def test_what_fits_is_none(catalogue: Catalogue) -> None:
    assert faults(catalogue, loras="ink", embeddings="tiny-word") == []
    assert faults(catalogue, model="sd21", embeddings="bad-hands") == []
    upscale = {"pipeline": "upscale", "image": "a.png", "model": "sd-x4-upscaler"}
    assert faults(catalogue, **upscale, loras="sharp", embeddings="bad-hands") == []


def test_a_stage_takes_the_rows_loras_where_its_network_is_the_same(catalogue: Catalogue) -> None:
    row = plan(catalogue, loras="ink", then=[{"pipeline": "img2img"}, {"pipeline": "upscale"}])
    assert [stage.loras for stage in row.then] == [row.loras, ()]


def test_files_of_the_users_own_count_from_their_catalogue(catalogue: Catalogue) -> None:
    assert Path(catalogue.loras.entries["ink"].source).is_absolute()
