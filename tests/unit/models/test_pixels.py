"""UNets that learn through the decoder: what they guess is decoded, and what they must not change stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.training import clip, data, fine, inpaint, pixels, txt2img, unet, upscale, vae  # noqa: E402

pytestmark = pytest.mark.engine
States = dict[str, "torch.Tensor"]


@pytest.fixture
def rng() -> "torch.Generator":
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(0)


def held(module: "torch.nn.Module") -> States:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: States, module: "torch.nn.Module") -> set[str]:
    return {name.split(".")[0] for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_the_right_v_leads_back_to_the_clean_latents(rng: "torch.Generator") -> None:
    clean = torch.randn(50, 4, 8, 8, generator=rng)
    posed = unet.Diffusion().pose(clean, rng)
    assert torch.allclose(posed.clean_by(posed.v), clean, atol=1e-4)
    assert not torch.allclose(posed.clean_by(posed.v + 0.1), clean, atol=1e-2)


def test_a_unet_that_is_right_draws_what_the_codec_does(rng: "torch.Generator") -> None:
    codec = vae.build().eval()
    posed = unet.Diffusion().pose(torch.randn(2, 4, 16, 16, generator=rng), rng)

    class Right(torch.nn.Module):
        def forward(self, given: "torch.Tensor", *rest: object, **more: object) -> object:
            assert given.shape[1] == 5
            return type("Out", (), {"sample": posed.v})

    drawing = pixels.Drawing(Right(), codec, decoder_learns=False)
    with torch.no_grad():
        v, pictures = drawing(posed, torch.zeros(2, 77, clip.WIDTH), torch.zeros(2, 1, 16, 16))
        expected = codec.decode(posed.clean_by(posed.v) / codec.config.scaling_factor).sample
    assert torch.equal(v, posed.v)
    assert torch.allclose(pictures, expected, atol=1e-5)


class Guess(torch.nn.Module):
    """Guesses that the clean latents are these."""

    def __init__(self, clean: "torch.Tensor", process: unet.Diffusion) -> None:
        super().__init__()
        self.clean, self.process = clean, process
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, given: "torch.Tensor", steps: "torch.Tensor", **more: object) -> object:
        a, b = self.process.signal[steps][:, None, None, None], self.process.noise[steps][:, None, None, None]
        return type("Out", (), {"sample": (a * given - self.clean) / b})


def test_sampled_latents_are_the_same_noise_over_what_the_unet_guesses(rng: "torch.Generator") -> None:
    process = unet.Diffusion()
    posed = process.pose(torch.randn(20, 4, 8, 8, generator=rng), rng)
    noise, guessed = posed.noise_by(posed.v), torch.randn(20, 4, 8, 8, generator=rng)
    said = torch.zeros(20, 77, clip.WIDTH)
    right = pixels.Drawing(Guess(posed.clean_by(posed.v), process), vae.build(), decoder_learns=False)
    found = pixels.sampled(right, process, posed, said)
    assert torch.allclose(found.noised, posed.noised, atol=1e-3)
    other = pixels.Drawing(Guess(guessed, process), vae.build(), decoder_learns=False)
    found = pixels.sampled(other, process, posed, said)
    assert torch.equal(found.steps, posed.steps)
    assert torch.allclose(found.noised, process.mix(guessed, noise, posed.steps).noised, atol=1e-3)


def test_the_upscaler_goes_on_with_its_decoder_and_its_latents_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: "torch.Generator", noise: np.random.Generator
) -> None:
    net, codec = upscale.build(), fine.widened(vae.build())
    before, codec_before = held(net), held(codec)
    large = noise.integers(0, 256, (6, 64, 64, 3)).astype(np.uint8)
    monkeypatch.setattr(upscale, "whole", lambda work: large)
    monkeypatch.setattr(data, "caption_list", lambda work: [""] * len(large))
    monkeypatch.setattr(unet, "states", lambda text, tokenizer, lines: np.zeros((len(lines), 77, clip.WIDTH)))
    recipe = replace(upscale.PIXELS, steps=2, warmup=0, halved=False)
    parts = txt2img.Parts(None, None, None)  # type: ignore[arg-type]
    tuned, tuned_codec = upscale.train_pixels(tmp_path, parts, net, codec, recipe)
    assert "conv_in" in changed(before, tuned)
    assert changed(codec_before, tuned_codec) == {"decoder", "post_quant_conv"}


def test_what_is_under_the_mask_is_no_matter_of_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.random.Generator
) -> None:
    """Two trainings whose pictures differ under the mask alone are one; where they differ elsewhere they are not."""
    areas = np.zeros((4, 64, 64), bool)
    areas[:, 16:48, 16:48] = True
    pictures = noise.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    inside, outside = pictures.copy(), pictures.copy()
    inside[:, 20, 20], outside[:, 0, 0] = 255 - pictures[:, 20, 20], 255 - pictures[:, 0, 0]
    words = np.zeros((4, 77, clip.WIDTH), np.float16)
    known = txt2img.Conditions(noise.standard_normal((4, 4, 16, 16)).astype(np.float16), words, words[:1])
    monkeypatch.setattr(inpaint, "masks", lambda work: areas)
    monkeypatch.setattr(txt2img, "conditions", lambda work, parts: known)
    left = noise.standard_normal((4, 4, 16, 16)).astype(np.float16)
    monkeypatch.setattr(unet, "encode", lambda codec, pictures: left)
    torch.manual_seed(0)
    start, codec = unet.build(inpaint.CHANNELS), vae.build()
    recipe = replace(inpaint.RECIPE, steps=1, batch=4, warmup=0, halved=False, low_precision=False)

    def trained(name: str, true: np.ndarray) -> "torch.Tensor":
        monkeypatch.setattr(data, "pictures", lambda work: true)
        net = inpaint.train(tmp_path / name, txt2img.Parts(codec, None, None), start, recipe)  # type: ignore[arg-type]
        return net.conv_in.weight  # type: ignore[union-attr, return-value]

    whole = trained("whole", pictures)
    assert not torch.equal(whole, start.conv_in.weight)
    assert torch.equal(trained("inside", inside), whole)
    assert not torch.equal(trained("outside", outside), whole)
