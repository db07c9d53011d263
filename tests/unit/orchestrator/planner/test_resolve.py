"""Every default of a row: its own value, then the model's. Nothing is left to the worker's taste."""

from typing import Any

import pytest

from orchestrator.planner.defaults import PlannedInput
from orchestrator.planner.resolve import derived_seed, limits_broken, resolve
from schemas.planned import InputImage, PlannedRow
from schemas.rows import MAX_SEED, ROW_ADAPTER
from services.catalogue import Catalogue

SHA = "f" * 64


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """The shipped one, and a model whose defaults are like no other's."""
    path = tmp_path_factory.mktemp("catalogue") / "models.toml"
    path.write_text(
        """
        [own]
        source = "owner/name"
        family = "sd1"
        pipelines = ["txt2img", "img2img", "inpaint", "depth2img"]
        aliases = ["own-alias"]
        width = 640
        height = 384
        steps = 17
        guidance_scale = 3.25
        scheduler = "euler_a"
        strength = 0.6
        inpaint_strength = 0.9
        max_pixels = 1048576

        [own-upscaler]
        source = "owner/upscaler"
        family = "upscaler"
        pipelines = ["upscale"]
        noise_level = 33
        max_pixels = 1048576

        [own-both]
        source = "owner/both"
        family = "sd2"
        pipelines = ["txt2img", "upscale"]
        steps = 20
        guidance_scale = 4.0
        upscale_steps = 2
        upscale_guidance_scale = 0.0
        """
    )
    return Catalogue.load(path)


def authored(**values: Any) -> Any:
    return ROW_ADAPTER.validate_python({"pipeline": "txt2img", "prompt": "a cat", "model": "own"} | values)


def plan(catalogue: Catalogue, size: tuple[int, int] | None = (101, 67), **values: Any) -> PlannedRow:
    row = authored(**values)
    inputs = {
        name: PlannedInput(InputImage(address=f"jobs/j/inputs/{name}.png", sha256=SHA), size)
        for name in ("image", "mask")
        if getattr(row, name, None)
    }
    return resolve(row, index=3, job="job", catalogue=catalogue, inputs=inputs)


class TestDefaults:
    def test_a_row_that_says_nothing_gets_the_models(self, catalogue: Catalogue) -> None:
        row = plan(catalogue)
        assert (row.width, row.height, row.steps, row.guidance_scale) == (640, 384, 17, 3.25)
        assert (row.scheduler, row.num_images, row.format, row.quality) == ("euler_a", 1, "png", None)
        assert (row.id, row.index, row.negative_prompt, row.clip_skip) == ("000003", 3, "", None)
        assert (row.strength, row.noise_level, row.image, row.mask) == (None, None, None, None)

    def test_a_rows_own_values_win(self, catalogue: Catalogue) -> None:
        given: dict[str, Any] = {
            "id": "cat",
            "width": 64,
            "height": 128,
            "steps": 3,
            "guidance_scale": 1.5,
            "scheduler": "ddim",
            "num_images": 4,
            "clip_skip": 2,
            "seed": 5,
            "format": "webp",
            "quality": 80,
            "negative_prompt": "dogs",
            "extra": {"note": {"nested": [1]}},
        }
        row = plan(catalogue, **given)
        assert {name: getattr(row, name) for name in given} == given

    def test_zero_is_a_value(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, seed=0, guidance_scale=0, clip_skip=0)
        assert (row.seed, row.guidance_scale, row.clip_skip) == (0, 0.0, 0)
        upscaled = plan(catalogue, pipeline="upscale", model="own-upscaler", image="a.png", noise_level=0)
        assert upscaled.noise_level == 0

    def test_a_model_can_have_other_steps_and_guidance_where_it_upscales(self, catalogue: Catalogue) -> None:
        drawn = plan(catalogue, model="own-both")
        assert (drawn.steps, drawn.guidance_scale) == (20, 4.0)
        large = plan(catalogue, model="own-both", pipeline="upscale", image="a.png")
        assert (large.steps, large.guidance_scale) == (2, 0.0)
        named = plan(catalogue, model="own-both", pipeline="upscale", image="a.png", steps=9, guidance_scale=1)
        assert (named.steps, named.guidance_scale) == (9, 1.0)
        then = plan(catalogue, model="own-both", then=[{"pipeline": "upscale"}])
        assert [(stage.steps, stage.guidance_scale) for stage in then.then] == [(2, 0.0)]

    def test_the_plan_names_the_model_by_its_one_name(self, catalogue: Catalogue) -> None:
        assert plan(catalogue, model="own-alias").model == "own"

    @pytest.mark.parametrize(
        ("file_format", "quality", "planned"), [("jpeg", None, 95), ("jpeg", 1, 1), ("webp", None, None), ("png", 7, 7)]
    )
    def test_a_jpeg_always_has_a_quality(
        self, catalogue: Catalogue, file_format: str, quality: int | None, planned: int | None
    ) -> None:
        assert plan(catalogue, format=file_format, quality=quality).quality == planned


class TestSeeds:
    def test_a_missing_seed_follows_from_job_and_row(self) -> None:
        assert derived_seed("job", "cat") == derived_seed("job", "cat")
        seeds = {derived_seed(job, row) for job in ("job", "job2", "jo") for row in ("bcat", "cat", "1", "2")}
        assert len(seeds) == 12
        assert all(0 <= seed < 2**32 for seed in seeds)

    def test_job_and_row_are_kept_apart(self) -> None:
        assert derived_seed("a", "bc") != derived_seed("ab", "c")

    def test_planning_again_gives_the_same_seed(self, catalogue: Catalogue) -> None:
        assert plan(catalogue).seed == plan(catalogue).seed == derived_seed("job", "000003")

    def test_the_largest_seed_is_kept(self, catalogue: Catalogue) -> None:
        assert plan(catalogue, seed=MAX_SEED).seed == MAX_SEED


class TestSizes:
    @pytest.mark.parametrize("pipeline", ["img2img", "inpaint", "depth2img"])
    @pytest.mark.parametrize(
        ("given", "planned"),
        [
            ({}, (96, 64)),
            ({"width": 128}, (128, 64)),
            ({"height": 32}, (96, 32)),
            ({"width": 128, "height": 32}, (128, 32)),
        ],
    )
    def test_an_input_decides_what_the_row_does_not(
        self, catalogue: Catalogue, pipeline: str, given: dict[str, int], planned: tuple[int, int]
    ) -> None:
        row = plan(
            catalogue,
            (101, 67),
            pipeline=pipeline,
            image="a.png",
            **({"mask": "m.png"} if pipeline == "inpaint" else {}),
            **given,
        )
        assert (row.width, row.height) == planned

    def test_an_input_that_only_the_worker_sees_decides_there(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, None, pipeline="img2img", image="s3://b/k.png")
        assert (row.width, row.height) == (None, None)

    @pytest.mark.parametrize("given", [{"width": 64}, {"height": 64}, {"width": 64, "height": 128}])
    def test_what_the_row_says_about_such_an_input_is_kept(self, catalogue: Catalogue, given: dict[str, int]) -> None:
        row = plan(catalogue, None, pipeline="img2img", image="s3://b/k.png", **given)
        assert {"width": row.width, "height": row.height} == {"width": None, "height": None} | given

    def test_an_upscaled_image_is_four_times_its_input(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, (101, 67), pipeline="upscale", model="own-upscaler", image="a.png")
        assert (row.width, row.height, row.noise_level) == (384, 256, 33)

    def test_an_input_smaller_than_8_pixels_is_worked_on_at_8(self, catalogue: Catalogue) -> None:
        row = plan(catalogue, (9, 8), pipeline="img2img", image="a.png")
        assert (row.width, row.height) == (8, 8)


@pytest.mark.parametrize(
    ("pipeline", "planned"), [("txt2img", None), ("img2img", 0.6), ("depth2img", 0.6), ("inpaint", 0.9)]
)
def test_a_strength_is_planned_where_the_pipeline_takes_one(
    catalogue: Catalogue, pipeline: str, planned: float | None
) -> None:
    inputs = {"txt2img": {}, "inpaint": {"image": "a", "mask": "m"}}.get(pipeline, {"image": "a"})
    assert plan(catalogue, pipeline=pipeline, **inputs).strength == planned


class TestLimits:
    def broken(self, catalogue: Catalogue, size: tuple[int, int] | None = None, **values: Any) -> list[str]:
        row = authored(**values)
        inputs = {"image": PlannedInput(InputImage(address="a"), size)} if getattr(row, "image", None) else {}
        return [found.field for found in limits_broken(row, catalogue=catalogue, inputs=inputs)]

    def test_a_sound_row_breaks_none(self, catalogue: Catalogue) -> None:
        assert self.broken(catalogue, width=1024, height=1024) == []

    def test_an_output_larger_than_the_model_can(self, catalogue: Catalogue) -> None:
        assert self.broken(catalogue, width=1024, height=1032) == ["width"]

    def test_an_input_whose_upscaled_size_is_too_large(self, catalogue: Catalogue) -> None:
        upscale = {"pipeline": "upscale", "model": "own-upscaler", "image": "a"}
        assert self.broken(catalogue, (256, 256), **upscale) == []
        assert self.broken(catalogue, (256, 264), **upscale) == ["image"]
        assert self.broken(catalogue, None, **upscale) == []

    @pytest.mark.parametrize(("steps", "strength", "fault"), [(10, 0.1, []), (10, 0.09, ["strength"]), (1, 1, [])])
    def test_a_strength_that_leaves_no_step(
        self, catalogue: Catalogue, steps: int, strength: float, fault: list[str]
    ) -> None:
        row = {"pipeline": "img2img", "image": "a", "steps": steps, "strength": strength}
        assert self.broken(catalogue, (64, 64), **row) == fault
