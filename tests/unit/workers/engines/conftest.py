"""One engine room in exact mode for the whole session, and the folders that it renders from."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from plain_diffusers import UPSCALE_INPUT, MakeSlots, input_image, input_mask, plain_pipeline

from schemas.planned import PlannedRow
from services.settings import load_settings
from workers.engines.base import Slot
from workers.engines.room import open_room


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built-in models are kept in this session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def make_room(data_dir: Path) -> Callable[..., Any]:
    """Opens an engine room on the CPU with these worker settings."""

    def make(**worker: Any) -> Any:
        import torch

        torch.set_num_threads(1)  # of these tiny tensors more than one makes nothing but noise
        return open_room(load_settings(data_dir=data_dir, worker={"device": "cpu", **worker}))

    return make


@pytest.fixture(scope="session")
def room(make_room: Callable[..., Any]) -> Any:
    """An engine room in exact mode; what it loads stays loaded."""
    return make_room(exact=True)


@pytest.fixture(scope="session")
def roots(data_dir: Path) -> Callable[[str], Path]:
    """The folder of a built-in model, which holds base, inpaint and so on."""
    from workers.models.builtin import builtin_folder

    return lambda model: builtin_folder(model, data_dir / "models").parent


@pytest.fixture(scope="session")
def plain(roots: Callable[[str], Path]) -> Callable[[str, str], tuple[Any, Any]]:
    """A plain pipeline and the scheduler that it came with."""

    @cache
    def get(model: str, pipeline: str) -> tuple[Any, Any]:
        pipe = plain_pipeline(roots(model), model, pipeline)
        return pipe, pipe.scheduler

    return get


@pytest.fixture(scope="session")
def slots() -> MakeSlots:
    """Slots of one row: `count` images, seed + k, with the inputs that the pipeline takes."""

    def make(pipeline: str = "txt2img", count: int = 1, **fields: Any) -> list[Slot]:
        side = UPSCALE_INPUT if pipeline == "upscale" else 64
        row = PlannedRow.model_validate(
            {
                "index": 0,
                "id": "row",
                "pipeline": pipeline,
                "model": "tiny",
                "prompt": "a red square left of a blue circle",
                "width": 64,
                "height": 64,
                "steps": 3,
                "guidance_scale": 5.0,
                "seed": 11,
                "scheduler": None,
                "num_images": count,
                **fields,
            }
        )
        image = None if pipeline == "txt2img" else input_image(side)
        mask = input_mask() if pipeline == "inpaint" else None
        return [Slot(row, number, row.seed + number, image, mask) for number in range(count)]

    return make
