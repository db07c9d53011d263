"""The stages of a row: defaults of their own models, sizes followed through, limits checked at each."""

from typing import Any

import pytest

from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.group import cut_tasks, grouped
from orchestrator.planner.resolve import limits_broken, resolve
from schemas.planned import InputImage, PlannedRow, Tiling
from schemas.rows import ROW_ADAPTER
from services.catalogue import Catalogue

CATALOGUE = """
[own]
source = "owner/name"
family = "sd1"
pipelines = ["txt2img", "img2img", "inpaint", "depth2img"]
aliases = ["own-alias"]
width = 64
height = 48
steps = 17
guidance_scale = 3.25
scheduler = "euler_a"
strength = 0.6
inpaint_strength = 0.9
max_pixels = 1048576

[big]
source = "owner/upscaler"
family = "upscaler"
pipelines = ["upscale"]
steps = 75
guidance_scale = 9.0
noise_level = 33
max_pixels = 65536
tile_pixels = 40000
tile_window = 48
tile_overlap = 16
"""
UPSCALE: dict[str, Any] = {"pipeline": "upscale", "model": "big"}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    path = tmp_path_factory.mktemp("catalogue") / "models.toml"
    path.write_text(CATALOGUE)
    return Catalogue.load(path)


def authored(*then: dict[str, Any], **values: Any) -> Any:
    row = {"pipeline": "txt2img", "prompt": "a cat", "model": "own-alias", "then": then}
    return ROW_ADAPTER.validate_python(row | values)


def plan(catalogue: Catalogue, *then: dict[str, Any], **values: Any) -> PlannedRow:
    inputs = {"then[0].mask": PlannedInput(InputImage(address="jobs/j/inputs/m.png", sha256="f"), (64, 48))}
    inputs["image"] = PlannedInput(InputImage(address="s3://b/k"), None)
    return resolve(authored(*then, **values), index=3, job="job", catalogue=catalogue, inputs=inputs)


class TestDefaults:
    def test_a_stage_takes_the_rows_texts_model_and_seed_and_its_models_numbers(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, {"pipeline": "img2img"}, UPSCALE, negative_prompt="blur", seed=5, steps=3)
        redraw, upscale = row.then
        assert [(part.model, part.prompt, part.negative_prompt, part.seed) for part in row.then] == [
            ("own", "a cat", "blur", 5),
            ("big", "a cat", "blur", 5),
        ]
        assert (redraw.steps, redraw.guidance_scale, redraw.scheduler, redraw.strength) == (17, 3.25, "euler_a", 0.6)
        assert (upscale.steps, upscale.guidance_scale, upscale.scheduler, upscale.noise_level) == (75, 9.0, None, 33)
        assert (redraw.noise_level, upscale.strength) == (None, None)

    def test_what_a_stage_says_counts(self, catalogue: Catalogue) -> None:
        own = {"prompt": "", "negative_prompt": "x", "seed": 0, "steps": 2, "guidance_scale": 0, "clip_skip": 1}
        (stage,) = plan(catalogue, {"pipeline": "depth2img", "strength": 1, "scheduler": "ddim"} | own, seed=9).then
        assert stage.model_dump(include=set(own)) == own
        assert (stage.strength, stage.scheduler) == (1, "ddim")

    def test_a_derived_seed_is_that_of_the_row(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, UPSCALE)
        assert row.then[0].seed == row.seed

    def test_adapters_go_with_the_rows_model_and_weighting_with_its_prompts(self, catalogue: Catalogue) -> None:
        loras = [{"name": "ink", "weight": 0.5}]
        row = plan(catalogue, {"pipeline": "img2img"}, UPSCALE, weighting="compel", loras=loras, embeddings=["e"])
        redraw, upscale = row.then
        assert (redraw.weighting, redraw.loras, redraw.embeddings) == (row.weighting, row.loras, row.embeddings)
        assert (upscale.weighting, upscale.loras, upscale.embeddings) == ("compel", (), ())
        (none,) = plan(catalogue, {"pipeline": "img2img", "loras": []}, loras=loras).then
        assert none.loras == ()

    def test_a_mask_goes_with_its_stage(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, {"pipeline": "inpaint", "mask": "m.png"})
        assert (row.mask, row.then[0].mask) == (None, InputImage(address="jobs/j/inputs/m.png", sha256="f"))

    def test_a_row_without_stages_is_planned_as_ever(self, catalogue: Catalogue) -> None:
        assert (plan(catalogue).then, plan(catalogue).keep, plan(catalogue).tiling) == ((), "last", None)


class TestSizes:
    def test_they_are_followed_through(self, catalogue: Catalogue) -> None:
        then = (UPSCALE, {"pipeline": "img2img", "width": 320}, {"pipeline": "depth2img", "height": 16})
        row = plan(catalogue, *then)
        assert [(part.width, part.height) for part in row.then] == [(256, 192), (320, 192), (320, 16)]

    def test_those_of_an_input_that_only_the_worker_sees_are_open(self, catalogue: Catalogue) -> None:
        then = (UPSCALE, {"pipeline": "img2img", "width": 320, "height": 240}, UPSCALE)
        row = plan(catalogue, *then, pipeline="img2img", image="s3://b/k")
        assert [(part.width, part.height) for part in row.then] == [(None, None), (320, 240), (1280, 960)]

    @pytest.mark.parametrize(("width", "tiled"), [(64, True), (48, False)])
    def test_a_large_output_is_planned_in_tiles(self, catalogue: Catalogue, width: int, tiled: bool) -> None:
        (stage,) = plan(catalogue, UPSCALE, width=width, height=48).then
        assert stage.tiling == (Tiling(over=40_000, window=48, overlap=16) if tiled else None)

    def test_of_a_size_that_is_not_known_yet_the_rule_is_planned(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, UPSCALE, pipeline="img2img", image="s3://b/k")
        assert row.tiling == Tiling(over=2 * 2**20)
        assert row.then[0].tiling == Tiling(over=40_000, window=48, overlap=16)
        assert row.sized(64, 40).then[0].tiling is not None
        assert (row.sized(48, 48).tiling, row.sized(48, 48).then[0].tiling) == (None, None)


class TestLimits:
    def broken(
        self, catalogue: Catalogue, *then: dict[str, Any], mask: tuple[int, int] | None = None, **values: Any
    ) -> list[tuple[str, str]]:
        inputs = {"then[0].mask": PlannedInput(InputImage(address="m"), mask)}
        return list(limits_broken(authored(*then, **values), catalogue=catalogue, inputs=inputs))

    def test_a_sound_chain_breaks_none(self, catalogue: Catalogue) -> None:
        assert self.broken(catalogue, UPSCALE, {"pipeline": "img2img"}) == []

    def test_each_stage_has_the_limit_of_its_model(self, catalogue: Catalogue) -> None:
        (found,) = self.broken(catalogue, UPSCALE, width=72, height=64)
        assert found == (
            "then[0].model",
            "the output would be 288 x 256; the limit of model big is 65,536 pixels",
            None,
        )

    @pytest.mark.parametrize("field", ["width", "height"])
    def test_a_size_of_its_own_that_is_too_large_is_named(self, catalogue: Catalogue, field: str) -> None:
        stage = {"pipeline": "img2img", "width": 1024, "height": 1024} | {field: 1032}
        ((name, _, _),) = self.broken(catalogue, stage)
        assert name == "then[0].width"

    def test_a_strength_that_leaves_no_step(self, catalogue: Catalogue) -> None:
        ((name, message, _),) = self.broken(catalogue, UPSCALE, {"pipeline": "img2img", "steps": 10, "strength": 0.09})
        assert name == "then[1].strength"
        assert "at least 0.1 here" in message

    def test_a_mask_has_the_size_of_the_image_before_it(self, catalogue: Catalogue) -> None:
        inpaint = {"pipeline": "inpaint", "mask": "m.png", "width": 128}
        assert self.broken(catalogue, inpaint, mask=(64, 48)) == []
        ((name, message, _),) = self.broken(catalogue, inpaint, mask=(128, 48))
        assert (name, message) == ("then[0].mask", "the mask is 128 x 48 pixels, its image 64 x 48")


def test_rows_of_other_chains_are_in_other_tasks(catalogue: Catalogue) -> None:
    rows = [
        plan(catalogue, *then)
        for then in ((), (UPSCALE,), (), (UPSCALE,), ({"pipeline": "img2img"},), (UPSCALE | {"steps": 5},))
    ]
    tasks = list(cut_tasks(grouped(rows), task_units=1000, task_rows=100))
    assert [{row.stages() for row in task} for task in tasks] == [
        {(("txt2img", "own"),)},
        {(("txt2img", "own"), ("upscale", "big"))},
        {(("txt2img", "own"), ("img2img", "own"))},
    ]
    assert [len(task) for task in tasks] == [2, 3, 1]
    assert len({row.batch_key() for row in tasks[1]}) == 2
