"""The engine without a model: quick to import, deterministic, and it fails as asked for."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plain_diffusers import MakeSlots

from schemas.errors import ModelUnavailable, OutOfMemory, RenderFailed
from services.settings import load_settings
from workers.engines.base import DeviceLost, Interrupted
from workers.engines.flat import STEP_SECONDS, FlatRoom
from workers.engines.room import open_room


def flat(**worker: Any) -> FlatRoom:
    room = open_room(load_settings(worker={"engine": "workers.engines.flat:FlatRoom", **worker}))
    assert isinstance(room, FlatRoom)
    return room


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from services.settings import load_settings; from workers.engines.room import open_room\n"
        "open_room(load_settings(worker={'engine': 'workers.engines.flat:FlatRoom'}))\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pictures_depend_on_prompt_and_seed_alone(slots: MakeSlots) -> None:
    batch = [*slots(count=3), *slots(prompt="other")]
    found = flat().render(batch, lambda: None)
    assert {one.pixels.shape for one in found} == {(64, 64, 3)}
    assert len({one.pixels.tobytes() for one in found}) == 4
    (alone,) = flat().render(batch[1:2], lambda: None)
    np.testing.assert_array_equal(alone.pixels, found[1].pixels)
    assert alone.pixels.dtype == np.uint8


def test_steps_are_told_and_take_their_time(slots: MakeSlots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STEP_SECONDS, "0.02")
    calls: list[None] = []
    started = time.monotonic()
    flat().render(slots(steps=5), lambda: calls.append(None))
    assert len(calls) == 5
    assert time.monotonic() - started >= 0.1


def test_a_step_can_interrupt(slots: MakeSlots) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        flat().render(slots(), stop)


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("a !raise", RenderFailed),
        ("a !model", ModelUnavailable),
        ("a !oom>0", OutOfMemory),
        ("a !lost", DeviceLost),
        ("a !crash", ZeroDivisionError),
    ],
)
def test_faults_on_request(slots: MakeSlots, prompt: str, error: type[BaseException]) -> None:
    with pytest.raises(error):
        flat().render([*slots(), *slots(prompt=prompt)], lambda: None)


def test_memory_by_batch_size(slots: MakeSlots) -> None:
    assert len(flat().render(slots(prompt="!oom>2", count=2), lambda: None)) == 2
    with pytest.raises(OutOfMemory):
        flat().render(slots(prompt="!oom>2", count=3), lambda: None)


def test_exit_leaves_at_once() -> None:
    code = (
        "from schemas.planned import PlannedRow as R; from workers.engines.base import Slot\n"
        "from workers.engines.flat import FlatRoom; from services.settings import load_settings\n"
        "row = R(index=0, id='a', pipeline='txt2img', model='m', prompt='!exit', width=8, height=8, steps=1,"
        " guidance_scale=1, seed=1, scheduler=None)\n"
        "FlatRoom(load_settings()).render([Slot(row, 0, 1)], lambda: None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9


@pytest.mark.parametrize(
    ("mode", "flags"),
    [("keep", (True, False)), ("blur", (True, False)), ("drop", (True, True)), ("off", (None, False))],
)
def test_flags_on_request(slots: MakeSlots, mode: str, flags: tuple[bool | None, bool]) -> None:
    plain, flagged = flat(safety=mode).render([*slots(), *slots(prompt="!flag")], lambda: None)
    assert (flagged.flagged, flagged.dropped) == flags
    assert plain.flagged is (None if mode == "off" else False)


def test_limits(slots: MakeSlots) -> None:
    row = slots()[0].row
    assert (flat().batch_limit(row), flat(max_batch=3).batch_limit(row), flat(exact=True).batch_limit(row)) == (8, 3, 1)


def test_nothing_is_cut_off_and_everything_is_recorded(slots: MakeSlots) -> None:
    progress: list[None] = []
    tell: Callable[[], None] = lambda: progress.append(None)  # noqa: E731
    room = flat()
    room.load("any", tell)
    assert progress
    assert room.warnings(slots(prompt="x" * 500)[0].row) == ()
    assert room.info(slots()[0].row).model_source == "flat"
