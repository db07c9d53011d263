"""Exported folders load with the plain diffusers calls, offline, and share what they can."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.training import clip, depth, export, fine, render, scenes, tokenizer, train, unet, upscale, vae  # noqa: E402
from services.catalogue import Catalogue  # noqa: E402

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast"),
]
TEXT = ["a red circle on a blue background"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shapes")
    torch.manual_seed(0)
    words = tokenizer.build(out / "words")
    codec = vae.build()
    codec.register_to_config(scaling_factor=vae.SCALING)
    export.export_base(out, codec, clip.build(words), words, unet.build())
    export.export_own(out, "inpaint", unet.build(9))
    export.export_own(out, "upscale", upscale.build(), vae=fine.widened(codec))
    export.export_own(out, "depth", unet.build(5), depth_estimator=depth.build_estimator())
    return out


@pytest.mark.parametrize("name", export.KINDS)
def test_every_pipeline_renders(exported: Path, name: str) -> None:
    pipeline = export.open_pipeline(exported, name)
    picture = render.drawn([next(scenes.stream(1, training=True))])
    inputs = {
        "txt2img": {},
        "img2img": {"image": render.pil(picture)},
        "inpaint": {"image": render.pil(picture), "mask_image": render.pil(picture), "height": 64, "width": 64},
        "upscale": {"image": render.pil(picture), "noise_level": 20},
        "depth": {"image": render.pil(picture)},
    }[name]
    made = render.render(pipeline, TEXT, num_inference_steps=2, **inputs)
    side = 256 if name == "upscale" else 64
    assert made.shape == (1, side, side, 3)
    assert pipeline.unet.dtype == pipeline.vae.dtype == pipeline.text_encoder.dtype == torch.float32
    assert pipeline.vae.config.scaling_factor == vae.SCALING


def test_the_seed_fixes_the_picture(exported: Path) -> None:
    pipeline = export.open_pipeline(exported, "txt2img")
    first, second = (render.render(pipeline, TEXT, num_inference_steps=2) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_text_tower_is_that_of_clip(exported: Path) -> None:
    whole = clip.CLIPModel.from_pretrained(exported / "clip", local_files_only=True)
    part = export.open_pipeline(exported, "txt2img").text_encoder
    numbers = torch.tensor([[1, 5, 9, whole.config.text_config.eos_token_id]])
    with torch.no_grad():
        a = whole.text_model(input_ids=numbers).last_hidden_state
        b = part(input_ids=numbers).last_hidden_state
    assert torch.equal(a, b)


def test_nothing_is_stored_twice_but_the_text_tower_and_the_upscaler_has_a_codec_of_its_own(exported: Path) -> None:
    held = [str(p.relative_to(exported).parent) for p in sorted(exported.rglob("*.safetensors"))]
    assert [place for place in held if place.endswith("vae")] == ["base/vae", "upscale/vae"]
    assert sum(p.stat().st_size for p in exported.rglob("*") if p.is_file()) < 48e6


def test_training_goes_on_from_exported_models(exported: Path, tmp_path: Path) -> None:
    shop = train.Workshop(tmp_path, ("whole",), source=exported)
    assert torch.equal(
        shop.vae().decoder.conv_in.weight, export.open_pipeline(exported, "txt2img").vae.decoder.conv_in.weight
    )
    for model in (shop.vae(), shop.clip(), shop.estimator(), shop.fine(), shop.upscale()):
        assert {(p.dtype, p.requires_grad) for p in model.parameters()} == {(torch.float32, False)}
    start = unet.opened(exported / "base" / "unet")
    assert {(p.dtype, p.requires_grad) for p in start.parameters()} == {(torch.float32, True)}
    assert unet.widened(start, 9).conv_in.weight[:, :4].equal(start.conv_in.weight)


def test_what_was_loaded_and_is_exported_again_says_nothing_of_where_it_lay(exported: Path, tmp_path: Path) -> None:
    export.export_own(tmp_path, "inpaint", unet.opened(exported / "inpaint" / "unet"))
    assert str(exported) not in (tmp_path / "inpaint" / "unet" / "config.json").read_text()


def test_the_catalogue_upscales_in_the_steps_that_the_figures_are_of() -> None:
    entry = Catalogue.load().entries["shapes"]
    assert entry.default_steps("upscale") == render.UPSCALE_STEPS
    assert entry.default_steps("txt2img") == render.STEPS
