"""UNets that learn through the decoder: what they guess is decoded, and what they must not change stays."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.training import clip, data, draw, drawing, fine, inpaint, loop, txt2img, unet, upscale, vae  # noqa: E402

pytestmark = pytest.mark.engine
States = dict[str, "torch.Tensor"]
Images = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Trained = Callable[..., "torch.Tensor"]
NOTHING = txt2img.Parts(None, None, None)  # type: ignore[arg-type]
ON_WHOLE = replace(upscale.ON_WHOLE, steps=4, warmup=0, halved=False)
INPAINT = replace(inpaint.RECIPE, steps=1, batch=4, warmup=0, halved=False, low_precision=False)


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


class Guess(torch.nn.Module):
    """Guesses that the clean latents are these."""

    def __init__(self, clean: "torch.Tensor", process: unet.Diffusion) -> None:
        super().__init__()
        self.clean, self.process = clean, process
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, given: "torch.Tensor", steps: "torch.Tensor", **more: object) -> object:
        a, b = self.process.signal[steps][:, None, None, None], self.process.noise[steps][:, None, None, None]
        return type("Out", (), {"sample": (a * given[:, :4] - self.clean) / b})


def test_a_unet_that_is_right_draws_what_the_codec_does(rng: "torch.Generator") -> None:
    codec, process = vae.build().eval(), unet.Diffusion()
    posed = process.pose(torch.randn(2, 4, 16, 16, generator=rng), rng)
    clean = posed.clean_by(posed.v)
    model = drawing.Drawing(Guess(clean, process), codec, decoder_learns=False)
    with torch.no_grad():
        v = model.guess(posed, torch.zeros(2, 77, clip.WIDTH), torch.zeros(2, 1, 16, 16))
        pictures = model.picture(posed, v)
        expected = codec.decode(clean / codec.config.scaling_factor).sample
    assert torch.allclose(v, posed.v, atol=1e-3)
    assert torch.allclose(pictures, expected, atol=1e-3)


def test_sampled_latents_are_the_same_noise_over_what_the_unet_guesses(rng: "torch.Generator") -> None:
    process = unet.Diffusion()
    posed = process.pose(torch.randn(20, 4, 8, 8, generator=rng), rng)
    noise, guessed = posed.noise_by(posed.v), torch.randn(20, 4, 8, 8, generator=rng)

    def sampled(clean: "torch.Tensor") -> unet.Posed:
        guess = Guess(clean, process)
        return drawing.sampled(process, posed, lambda asked: guess(asked.noised, asked.steps).sample)  # type: ignore[attr-defined]

    assert torch.allclose(sampled(posed.clean_by(posed.v)).noised, posed.noised, atol=1e-3)
    found = sampled(guessed)
    assert torch.equal(found.steps, posed.steps)
    assert torch.allclose(found.noised, process.mix(guessed, noise, posed.steps).noised, atol=1e-3)
    assert torch.allclose(found.clean_by(found.v), guessed, atol=1e-3)


def test_guidance_goes_on_from_the_answer_without_words_beyond_that_with_them() -> None:
    both = torch.tensor([[1.0], [2.0], [3.0], [5.0]])  # two without words, two with
    assert unet.guided(both, 4.0).tolist() == [[9.0], [14.0]]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch, noise: np.random.Generator) -> Images:
    """What `whole` has; captions and their states are empty."""
    pictures: Images = noise.integers(0, 256, (6, 64, 64, 3)).astype(np.uint8)
    monkeypatch.setattr(upscale, "whole", lambda work: pictures)
    monkeypatch.setattr(data, "caption_list", lambda work: [""] * 3)
    monkeypatch.setattr(unet, "states", lambda text, tokenizer, lines: np.zeros((len(lines), 77, clip.WIDTH)))
    return pictures


@pytest.mark.usefixtures("large")
def test_the_upscaler_goes_on_with_its_decoder_and_its_latents_stay(tmp_path: Path, rng: "torch.Generator") -> None:
    net, codec = upscale.build(), fine.widened(vae.build())
    before, codec_before = held(net), held(codec)
    tuned, tuned_codec = upscale.train_on_whole(tmp_path, NOTHING, net, codec, ON_WHOLE)
    assert "conv_in" in changed(before, tuned)
    assert changed(codec_before, tuned_codec) == {"decoder", "post_quant_conv"}


@pytest.mark.usefixtures("large")
def test_every_other_batch_of_the_upscaler_is_of_what_sampling_comes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: "torch.Generator"
) -> None:
    asked: list[unet.Posed] = []
    real = drawing.Drawing.picture

    def picture(self: drawing.Drawing, posed: unet.Posed, v: "torch.Tensor") -> "torch.Tensor":
        asked.append(posed)
        return real(self, posed, v)

    led: list[unet.Posed] = []
    sampled = drawing.sampled

    def sampling(*args: object, **more: object) -> unet.Posed:
        led.append(sampled(*args, **more))  # type: ignore[arg-type]
        return led[-1]

    monkeypatch.setattr(drawing.Drawing, "picture", picture)
    monkeypatch.setattr(drawing, "sampled", sampling)
    upscale.train_on_whole(tmp_path, NOTHING, upscale.build(), fine.widened(vae.build()), ON_WHOLE)
    assert [any(posed is one for one in led) for posed in asked] == [False, True, False, True]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: np.random.Generator) -> Trained:
    """One step of inpainting, on these pictures, latents and masks; some weights of the UNet afterwards."""
    words = np.zeros((4, 77, clip.WIDTH), np.float16)
    left = noise.standard_normal((4, 4, 16, 16)).astype(np.float16)
    monkeypatch.setattr(unet, "encode", lambda codec, pictures: left)
    torch.manual_seed(0)
    start, codec = unet.build(inpaint.CHANNELS), vae.build()
    numbers = itertools.count()

    def train(pictures: Images, latents: np.ndarray, areas: np.ndarray) -> "torch.Tensor":
        monkeypatch.setattr(inpaint, "masks", lambda work: areas)
        monkeypatch.setattr(data, "pictures", lambda work: pictures)
        monkeypatch.setattr(txt2img, "conditions", lambda *_: txt2img.Conditions(latents, words, words[:1]))
        parts = txt2img.Parts(codec, None, None)  # type: ignore[arg-type]
        net = inpaint.train(tmp_path / str(next(numbers)), parts, start, INPAINT)
        return net.conv_in.weight  # type: ignore[union-attr, return-value]

    return train


def test_pixels_count_outside_of_the_mask_alone_and_latents_everywhere(
    trained: Trained, noise: np.random.Generator
) -> None:
    areas = np.zeros((4, 64, 64), bool)
    areas[:, 16:48, 16:48] = True
    pictures = noise.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    latents = noise.standard_normal((4, 4, 16, 16)).astype(np.float16)
    inside, outside, under = pictures.copy(), pictures.copy(), latents.copy()
    inside[:, 20, 20], outside[:, 0, 0] = 255 - pictures[:, 20, 20], 255 - pictures[:, 0, 0]
    under[:, :, 6, 6] += 1
    before = trained(pictures, latents, areas)
    assert torch.equal(trained(inside, latents, areas), before)
    assert not torch.equal(trained(outside, latents, areas), before)
    everything = np.ones_like(areas)
    assert not torch.equal(trained(pictures, under, everything), trained(pictures, latents, everything))


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> list[tuple[drawing.Drawing, loop.Loss[drawing.Drawing]]]:
    """Models and their losses that were to be trained."""
    found: list[tuple[drawing.Drawing, loop.Loss[drawing.Drawing]]] = []

    def fit(
        recipe: loop.Recipe, model: drawing.Drawing, loss_of: loop.Loss[drawing.Drawing], *rest: object
    ) -> drawing.Drawing:
        found.append((model, loss_of))
        return model

    monkeypatch.setattr(loop, "fit", fit)
    return found


def test_a_guided_batch_asks_in_the_mask_for_what_the_unet_found_before(
    caught: list[tuple[drawing.Drawing, loop.Loss[drawing.Drawing]]], trained: Trained, noise: np.random.Generator
) -> None:
    latents = noise.standard_normal((4, 4, 16, 16)).astype(np.float16)
    pictures = noise.integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    trained(pictures, latents, np.ones((4, 64, 64), bool))
    model, loss_of = caught[-1]

    def loss() -> float:
        return float(loss_of(model, 1, torch.Generator().manual_seed(0)).detach())

    assert loss() == 0, "everything is masked, and nothing has changed"
    with torch.no_grad():
        model.net.conv_out.bias.add_(0.5)  # type: ignore[union-attr, operator]
    assert loss() == pytest.approx(0.25 * inpaint.INSIDE, rel=1e-3)
    trained(pictures, latents, np.zeros((4, 64, 64), bool))
    model, loss_of = caught[-1]
    assert loss() > 0, "outside of the mask the pixels count"


def test_inpainting_learns_for_the_decoder_that_is_there(
    caught: list[tuple[drawing.Drawing, loop.Loss[drawing.Drawing]]], trained: Trained, noise: np.random.Generator
) -> None:
    latents = noise.standard_normal((4, 4, 16, 16)).astype(np.float16)
    trained(np.zeros((4, 64, 64, 3), np.uint8), latents, np.ones((4, 64, 64), bool))
    ((model, _),) = caught
    assert not any(weight.requires_grad for weight in model.decoder.parameters())
    assert all(weight.requires_grad for weight in model.net.parameters())


def test_whole_pictures_come_plain_and_then_tinted_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "LARGE", 32)
    plain, tinted = np.split(upscale.whole(tmp_path, 3).astype(float), 2)
    for own, scene in zip(plain, data.training_scenes(3), strict=True):
        np.testing.assert_array_equal(own, draw.draw(scene, 32, 2))
    for own, other in zip(plain, tinted, strict=True):
        # Within bounds no channel is more than a line of itself: contrast, and an offset.
        for before, after in zip(own.T, other.T, strict=True):
            inner = (after > 0) & (after < 255)
            slope, _ = np.polyfit(before[inner], after[inner], 1) if np.ptp(before[inner]) > 30 else (1.0, 0.0)
            assert upscale.CONTRAST[0] - 0.05 < slope < upscale.CONTRAST[1] + 0.05
        assert np.abs(other.mean((0, 1)) - own.mean((0, 1))).max() < upscale.OFFSET + 0.1 * 127.5
    assert not np.array_equal(plain, tinted)
