"""The shipped model `shapes`: it loads for every pipeline, and its colours follow the prompt."""

from pathlib import Path

import numpy as np
from plain_diffusers import MARKS

from schemas.planned import PlannedRow
from services.catalogue import Catalogue
from services.settings import load_settings
from workers.engines.base import Slot
from workers.engines.diffusers_room import DiffusersRoom
from workers.models.sources import fetch

pytestmark = MARKS
BLUE, RED = np.array([40, 80, 220]), np.array([220, 30, 30])


def test_every_source_is_complete_with_what_it_shares_with_the_base(tmp_path: Path) -> None:
    _, entry = Catalogue.load().resolve("shapes")
    folders = fetch("shapes", entry, tmp_path)
    assert set(folders) == {entry.source_of(pipeline) for pipeline in entry.pipelines}
    assert set(folders["builtin:shapes/inpaint"].components) == {"unet", "scheduler"}


def test_a_red_circle_on_blue_is_mostly_blue_and_somewhere_red(tmp_path: Path) -> None:
    room = DiffusersRoom(load_settings(data_dir=tmp_path, worker={"device": "cpu"}), Catalogue.load())
    row = PlannedRow(
        index=0,
        id="a",
        pipeline="txt2img",
        model="shapes",
        prompt="a red circle on a blue background",
        width=64,
        height=64,
        steps=8,
        guidance_scale=4.0,
        seed=7,
        scheduler=None,
        num_images=2,
    )
    rendered = room.render([Slot(row, number, 7 + number) for number in range(2)], lambda: None)
    for image in rendered:
        near = [np.abs(image.pixels.astype(int) - colour).sum(axis=2) < 120 for colour in (BLUE, RED)]
        assert near[0].mean() > 0.4
    assert max((np.abs(image.pixels.astype(int) - RED).sum(axis=2) < 120).mean() for image in rendered) > 0.03
