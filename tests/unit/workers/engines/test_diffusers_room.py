"""What becomes of trouble: memory, a lost device, a model that overflows; what a room records and keeps loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_diffusers import MARKS, MakeSlots

from schemas.errors import ModelUnavailable, OutOfMemory, RenderFailed, SettingsError
from services.settings import load_settings
from workers.engines.base import DeviceLost
from workers.engines.denoise import to_pixels
from workers.engines.room import open_room

pytestmark = MARKS

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
]


def raising(error: BaseException, times: int = 1000) -> Callable[[], None]:
    """A step that raises, so many times."""
    left = [times]

    def step() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return step


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_short_memory_is_told_as_such(make_room: Callable[..., Any], slots: MakeSlots, error: Exception) -> None:
    room = make_room()
    with pytest.raises(OutOfMemory, match="2 of 64x64 with tiny do not fit into cpu") as caught:
        room.render(slots(count=2), raising(error))
    # Tensors of the failed loop must be free to go before the next try: nothing may hold its frames.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert len(room.render(slots(count=2), lambda: None)) == 2


def test_a_real_shortage_is_one_too(room: Any, slots: MakeSlots) -> None:
    def take_all_memory() -> None:
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(OutOfMemory):
        room.render(slots(), take_all_memory)


def test_other_models_leave_before_memory_is_given_up(make_room: Callable[..., Any], slots: MakeSlots) -> None:
    room = make_room()
    room.render(slots(model="tiny-2"), lambda: None)
    room.render(slots(model="tiny-xl"), lambda: None)
    found = room.render(slots(), raising(MemoryError(), times=1))
    assert len(found) == 1
    assert room.loaded() == ["tiny"]


def test_a_failing_pipeline_is_told_with_its_names(room: Any, slots: MakeSlots) -> None:
    with pytest.raises(RenderFailed, match=r"^txt2img with tiny, scheduler euler: KeyError: 'what'$"):
        room.render(slots(scheduler="euler"), raising(KeyError("what")))


def test_a_lost_device_is_no_rows_fault(room: Any, slots: MakeSlots) -> None:
    with pytest.raises(DeviceLost, match="an illegal memory access"):
        room.render(slots(), raising(RuntimeError("CUDA error: an illegal memory access was encountered")))


def test_numbers_that_are_none_are_not_black_pictures() -> None:
    images = torch.zeros(2, 3, 8, 8, dtype=torch.float16)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(RenderFailed, match=r"not a number \(torch\.float16\)"):
        to_pixels(images)


def test_pixels_are_rounded_as_diffusers_does() -> None:
    from diffusers.image_processor import VaeImageProcessor

    raw = torch.randn(3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    processor = VaeImageProcessor()
    expected = [np.asarray(picture) for picture in processor.postprocess(raw, output_type="pil")]
    got = to_pixels(processor.postprocess(raw, output_type="pt"))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_vae_is_mended_after_an_interrupted_decode(make_room: Callable[..., Any], slots: MakeSlots) -> None:
    """SDXL casts a half-precision VAE to float32 while it decodes; left there, the next render would fail."""
    room = make_room(dtype="bfloat16")
    room.render(slots(model="tiny-xl"), lambda: None)
    ready = room._pool.get("tiny-xl")
    vae = ready.model.pipelines["txt2img"].vae
    vae.to(dtype=torch.float32)
    with pytest.raises(RenderFailed):
        room.render(slots(model="tiny-xl"), raising(KeyError()))
    assert vae.dtype == torch.bfloat16
    assert len(room.render(slots(model="tiny-xl"), lambda: None)) == 1


def test_weights_are_shared_between_pipelines(make_room: Callable[..., Any], slots: MakeSlots) -> None:
    room = make_room()
    for pipeline in ("txt2img", "img2img", "inpaint", "upscale", "depth2img"):
        strength = None if pipeline in ("txt2img", "upscale") else 0.8
        room.render(slots(pipeline, strength=strength, steps=2), lambda: None)
    pipes = room._pool.get("tiny").model.pipelines
    assert len({id(pipe.text_encoder) for pipe in pipes.values()}) == 1
    assert len({id(pipe.vae) for name, pipe in pipes.items() if name != "upscale"}) == 1
    assert pipes["txt2img"].unet is pipes["img2img"].unet
    assert len({id(pipe.unet) for pipe in pipes.values()}) == 4
    assert all(getattr(pipe, "safety_checker", None) is None for pipe in pipes.values())


def test_the_least_recently_used_model_leaves(make_room: Callable[..., Any], slots: MakeSlots) -> None:
    room = make_room(max_models=2)
    for model in ("tiny", "tiny-2", "tiny", "tiny-xl"):
        room.render(slots(model=model, steps=2), lambda: None)
    assert room.loaded() == ["tiny", "tiny-xl"]
    before = room.render(slots(steps=2), lambda: None)[0].pixels
    for model in ("tiny-2", "tiny-xl"):
        room.render(slots(model=model, steps=2), lambda: None)
    assert "tiny" not in room.loaded()
    np.testing.assert_array_equal(room.render(slots(steps=2), lambda: None)[0].pixels, before)


def test_loading_tells_its_progress_and_loads_once(make_room: Callable[..., Any]) -> None:
    room = make_room()
    calls: list[None] = []
    room.load("tiny", lambda: calls.append(None))
    assert calls
    assert room.loaded() == ["tiny"]
    calls.clear()
    room.load("tiny", lambda: calls.append(None))
    assert not calls


def test_info(room: Any, slots: MakeSlots) -> None:
    room.load("tiny", lambda: None)
    info = room.info(slots()[0].row)
    assert info.device.startswith("cpu (")
    assert (info.dtype, info.model_source, info.safety) == ("float32", "builtin:tiny", "keep")
    assert info.versions["torch"] == torch.__version__
    assert set(info.versions) == {"torch", "diffusers", "transformers"}


def test_the_end_of_a_long_prompt_is_told(room: Any, slots: MakeSlots) -> None:
    fits = "x" * 75
    assert room.warnings(slots(prompt=fits)[0].row) == ()
    (told,) = room.warnings(slots(prompt=fits + "yz")[0].row)
    assert told == "prompt: the text encoder reads 77 tokens and never sees 'yz'; weighting: compel reads all of it"
    both = slots(prompt=fits + "y", negative_prompt=fits + "z", model="tiny-xl")[0].row
    assert [text.split(":")[0] for text in room.warnings(both)] == ["prompt", "negative_prompt"]
    assert len(room.warnings(both.model_copy(update={"guidance_scale": 1.0}))) == 1


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        ({"device": "cuda:99"}, r"worker\.device 'cuda:99'"),
        ({"device": "abacus"}, r"worker\.device 'abacus' is no device"),
        ({"engine": "nowhere:Room"}, r"worker\.engine 'nowhere:Room': No module named"),
        ({"engine": "workers.engines.flat:Sharp"}, r"has no attribute 'Sharp'"),
        ({"engine": "flat"}, r"worker\.engine 'flat'"),
    ],
)
def test_settings_that_cannot_be_used(worker: dict[str, Any], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        open_room(load_settings(worker=worker))


def test_a_model_that_is_not_there(tmp_path: Path, slots: MakeSlots) -> None:
    own = tmp_path / "models.toml"
    own.write_text('[gone]\nsource = "./gone"\nfamily = "sd1"\npipelines = ["txt2img"]\n')
    room = open_room(load_settings(models_file=own, data_dir=tmp_path, worker={"device": "cpu"}))
    with pytest.raises(ModelUnavailable, match=rf"model gone: no folder {tmp_path / 'gone'} on this machine"):
        room.load("gone", lambda: None)
