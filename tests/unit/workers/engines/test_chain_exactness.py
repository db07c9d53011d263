"""In exact mode a chain gives what plain diffusers calls one after the other give, bit for bit.

Between two stages stands the picture as a plain pipeline returns it: a PIL image, uint8 RGB.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from plain_diffusers import MARKS, input_mask, plain_picture, with_scheduler

from schemas import keys
from schemas.planned import InputImage, PlannedRow
from services import jobs
from tests.runner_steps import open_job
from tests.small_mill import JOB, SmallMill
from workers.runner import run_task

pytestmark = MARKS
Plain = Callable[[str, str], tuple[Any, Any]]
PROMPT = "a red square left of a blue circle"


def stage(pipeline: str, width: int, height: int, model: str, **own: Any) -> dict[str, Any]:
    fields = {"prompt": PROMPT, "steps": 2, "guidance_scale": 5.0, "seed": 11, "scheduler": None}
    return {"pipeline": pipeline, "model": model, "width": width, "height": height} | fields | own


def plain_stage(plain: Plain, picture: Image.Image | None, view: PlannedRow, number: int) -> Image.Image:
    """One plain call, as diffusers' documentation writes it."""
    own: dict[str, Any] = {}
    if view.pipeline == "txt2img":
        own = {"width": view.width, "height": view.height}
    else:
        assert picture is not None
        factor = 4 if view.pipeline == "upscale" else 1
        size = ((view.width or 0) // factor, (view.height or 0) // factor)
        own["image"] = picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
    if view.pipeline == "inpaint":
        own |= {"mask_image": input_mask(), "width": view.width, "height": view.height}
    if view.strength is not None:
        own["strength"] = view.strength
    if view.noise_level is not None:
        own["noise_level"] = view.noise_level
    pipe = with_scheduler(*plain(view.model, view.pipeline), view.scheduler)
    common = {"prompt": view.prompt, "num_inference_steps": view.steps, "guidance_scale": view.guidance_scale}
    if view.negative_prompt:
        common["negative_prompt"] = view.negative_prompt
    return Image.fromarray(plain_picture(pipe, view.seed + number, **common, **own))


INPUT_MASK = keys.input_image(JOB, "c" * 64, "png")
MASK = InputImage(address=INPUT_MASK)
CHAINS: dict[str, list[dict[str, Any]]] = {
    "larger-then-upscaled": [
        stage("img2img", 72, 40, "tiny", strength=0.7, seed=3, negative_prompt="blurry"),
        stage("upscale", 288, 160, "tiny", noise_level=30, prompt="sharp"),
    ],
    "inpaint": [stage("inpaint", 64, 64, "tiny-2", mask=MASK, strength=1.0)],
    "depth2img": [stage("depth2img", 64, 64, "tiny-2", strength=0.8, scheduler="euler_a")],
    "xl": [stage("img2img", 96, 64, "tiny-xl", strength=0.5, scheduler="dpmpp_2m_sde_karras")],
    "upscaled-then-redrawn": [
        stage("upscale", 192, 192, "tiny", noise_level=0),
        stage("img2img", 64, 64, "tiny", strength=0.9),
    ],
}


@pytest.mark.parametrize("name", CHAINS)
def test_every_stage_is_a_plain_call_on_the_picture_before_it(
    room: Any, plain: Plain, small_mill: SmallMill, name: str
) -> None:
    images = 2 if name == "depth2img" else 1
    side = 48 if name == "upscaled-then-redrawn" else 64
    first = stage("txt2img", side, side, "tiny-xl" if name == "xl" else "tiny", scheduler="ddim_trailing")
    row = PlannedRow.model_validate(
        first | {"index": 0, "id": "row", "num_images": images, "then": CHAINS[name], "keep": "all"}
    )
    mask = io.BytesIO()
    input_mask().save(mask, "PNG")
    small_mill.store.put(INPUT_MASK, mask.getvalue(), "image/png")
    active = open_job(small_mill, [[row]])
    assert run_task(active.message("0", 0), small_mill.place(room, exact=True)) == "counted"
    (line,) = jobs.task_outcomes(small_mill.store, JOB, 0, 0).values()
    assert line.status == "done", line.failure
    for number in range(images):
        expected: Image.Image | None = None
        for step in range(row.stage_count):
            expected = plain_stage(plain, expected, row.at_stage(step), number)
            (found,) = (image for image in line.images if (image.image, image.stage) == (number, step))
            with Image.open(io.BytesIO(small_mill.store.get(found.key or ""))) as got:
                np.testing.assert_array_equal(np.asarray(got), np.asarray(expected), err_msg=f"stage {step}")
