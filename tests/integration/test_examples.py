"""The manifests under `examples/` as a user tries them: submitted, rendered with `tiny`, fetched."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.mill import Mill

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"


def lines_of(mill: Mill, job: str) -> dict[str, dict[str, Any]]:
    """Wait for a job and fetch it; its lines by file name. Every file is there."""
    status = mill.wait_for(job, seconds=150)
    assert status.done == status.rows
    folder = mill.folder / job
    mill.client.fetch(job, folder)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert all((folder / line["file_name"]).is_file() for line in lines)
    return {line["file_name"]: line for line in lines}


def test_a_grid_comes_back_with_the_coordinates_of_every_image(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker()
    mill.command("submit", str(EXAMPLES / "grid.yaml"), "--job-id", "grid")
    lines = lines_of(mill, "grid").values()
    cells = {tuple(line["coordinates"].items()) for line in lines}
    assert cells == {
        (("scheduler", scheduler), ("guidance_scale", scale), ("seed", seed))
        for scheduler in ("euler", "euler_a", "ddim")
        for scale in (3, 5, 7, 9)
        for seed in range(1, 6)
    }
    assert len(lines) == 60
    for line in lines:
        assert all(line[name] == value for name, value in line["coordinates"].items())


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_documents_templates_and_a_prompts_file_are_rendered_with_tiny(mill: Mill) -> None:
    mill.orchestrator()
    mill.worker(engine="diffusers")
    submit = mill.client.submit
    submit(EXAMPLES / "sizes.json", job_id="sizes")
    submit(EXAMPLES / "denoise.yaml", job_id="denoise")
    submit(EXAMPLES / "templates.yaml", job_id="templates")
    submit(EXAMPLES / "a1111.txt", job_id="a1111", file_format="a1111", defaults={"model": "tiny"})

    sizes = lines_of(mill, "sizes")
    found = {(line["shape"], line["width"], line["height"]) for line in sizes.values()}
    assert found == {("square", 64, 64), ("wide", 96, 64), ("tall", 64, 96)}
    assert sizes["house-2-1.png"]["coordinates"] == {"width": 64, "height": 96, "shape": "tall", "seed": 2}
    assert sizes["fox.png"]["coordinates"] is None
    strengths = [line["strength"] for line in lines_of(mill, "denoise").values() if line["id"].startswith("house")]
    assert sorted(strengths) == [0.2, 0.4, 0.6, 0.8]
    prompts = {line["id"]: line["prompt"] for line in lines_of(mill, "templates").values()}
    assert prompts["names-1"] == "a small lamp on a table"
    assert prompts["000014"] == "50% off, {as it stands}, $5"
    assert len(lines_of(mill, "a1111")) == 7
