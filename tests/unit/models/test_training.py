"""What trains the built-in models: the loop resumes exactly, the vocabulary knows every script, exports load."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.training import clip, data, fine, loop, tokenizer, txt2img, unet, vae  # noqa: E402

pytestmark = pytest.mark.engine
RECIPE = loop.Recipe("line", steps=40, batch=4, rate=1e-2, warmup=5, low_precision=False)


def _loss(model: "torch.nn.Module", step: int, rng: "torch.Generator") -> "torch.Tensor":
    x = torch.randn(4, 3, generator=rng).to(loop.device())
    return (model(x) - x.sum(1, keepdim=True)).square().mean()


def _line() -> "torch.nn.Module":
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1)


class _Stopped(Exception):
    pass


def test_a_stopped_training_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = loop.fit(RECIPE, _line(), _loss, tmp_path / "whole")

    def stops(model: "torch.nn.Module", step: int, rng: "torch.Generator") -> "torch.Tensor":
        if step == 17:
            raise _Stopped
        return _loss(model, step, rng)

    eager = replace(RECIPE, save_every=0.0)
    with pytest.raises(_Stopped):
        loop.fit(eager, _line(), stops, tmp_path / "halves")
    halves = loop.fit(eager, _line(), _loss, tmp_path / "halves")
    assert torch.equal(whole.weight, halves.weight)


def test_a_checkpoint_is_not_taken_for_one_that_began_elsewhere(tmp_path: Path) -> None:
    loop.fit(RECIPE, _line(), _loss, tmp_path)
    other = _line()
    torch.nn.init.zeros_(other.weight)
    with pytest.raises(loop.OtherTraining, match="began with other weights: name a new work folder"):
        loop.fit(replace(RECIPE, steps=50), other, _loss, tmp_path)
    loop.fit(replace(RECIPE, steps=50), _line(), _loss, tmp_path)


def test_losses_are_logged_and_fall(tmp_path: Path) -> None:
    loop.fit(replace(RECIPE, steps=300), _line(), _loss, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "line" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150, 200, 250, 300]
    assert lines[-1]["loss"] < lines[0]["loss"] / 2


@pytest.mark.parametrize("text", ["a red circle", "ein größeres Quadrat", "赤い円と青い星", "دائرة حمراء", "🌟 ñ"])
def test_any_script_tokenizes_and_comes_back(tmp_path: Path, text: str) -> None:
    words = tokenizer.build(tmp_path)
    numbers = words(text).input_ids
    assert len(set(numbers[:-1]) & {words.eos_token_id}) == 0
    assert words.decode(numbers, skip_special_tokens=True).replace(" ", "") == text.lower().replace(" ", "")


def test_a_word_of_the_captions_is_one_token(tmp_path: Path) -> None:
    words = tokenizer.build(tmp_path)
    assert len(words("a red circle to the left of two gray crosses").input_ids) == 10 + 2


def test_more_than_half_of_the_steps_are_those_where_the_words_are_learned() -> None:
    rng = torch.Generator().manual_seed(0)
    clean = torch.zeros(1000, 4, 2, 2)
    posed = unet.Diffusion().pose(clean, rng)
    noised, steps, v = posed.noised, posed.steps, posed.v
    assert int((steps >= unet.LOST).sum()) == pytest.approx(1000 * unet.NOISY, abs=2)
    assert {0, unet.STEPS - 1} <= set(steps.tolist())
    last = steps == unet.STEPS - 1
    assert torch.equal(v[last], torch.zeros_like(v[last]))  # pure noise asks for the picture alone
    assert float(noised[last].std()) == pytest.approx(1.0, abs=0.2)


def test_the_empty_prompt_is_learned_better_where_the_scene_is_seen() -> None:
    rng = torch.Generator().manual_seed(0)
    steps = torch.arange(1000)
    said = unet.dropped(torch.ones(1000, 1, 1), torch.zeros(1, 1, 1), steps, rng)[:, 0, 0]
    assert float(1 - said[: unet.SEEN].mean()) == pytest.approx(unet.UNCONDITIONED_SEEN, abs=0.06)
    assert float(1 - said[unet.SEEN :].mean()) == pytest.approx(unet.UNCONDITIONED, abs=0.06)


def test_the_noisy_steps_with_their_large_loss_do_not_drown_the_others() -> None:
    steps = torch.arange(0, unet.STEPS, 10)
    error = torch.from_numpy(np.interp(steps.numpy(), list(unet.USUAL), list(unet.USUAL.values()))).float() ** 0.5
    process = unet.Diffusion()
    zeros = torch.zeros(len(steps), 4, 2, 2)
    v = error[:, None, None, None].expand_as(zeros)

    class Silent(torch.nn.Module):
        """Predicts nothing: its squared error is that of v."""

        def __init__(self) -> None:
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(1))

        def forward(self, given: "torch.Tensor", steps: "torch.Tensor", **more: object) -> SimpleNamespace:
            return SimpleNamespace(sample=torch.zeros_like(given))

    def asked(k: "torch.Tensor") -> unet.Posed:
        return unet.Posed(zeros[k], steps[k], v[k], zeros[k], zeros[k])

    def share(process: unet.Diffusion) -> float:
        """That of the steps in which the scene is lost."""
        parts = [float(process.loss(Silent(), asked(k), zeros[k, :1, 0]) * k.sum())
                 for k in (steps >= unet.LOST, steps >= 0)]  # fmt: skip
        return parts[0] / parts[1]

    assert share(unet.Diffusion(weighted=False)) > 0.6
    assert share(process) < 0.5


def test_latents_for_the_decoder_are_the_scenes_own_but_for_a_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((60, 4, 16, 16)).astype(np.float16)
    words = rng.standard_normal((60, 77, clip.WIDTH)).astype(np.float16)
    known = txt2img.Conditions(clean, words, words[:1])
    monkeypatch.setattr(txt2img, "conditions", lambda work, parts: known)
    parts = txt2img.Parts(None, None, None)  # type: ignore[arg-type]
    found = txt2img.finished(tmp_path, parts, unet.build(), count=60)
    assert found.shape == clean.shape
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(found, clean, strict=True)]
    assert min(likeness) > 0.3
    assert max(likeness) < 0.999
    other = txt2img.finished(tmp_path, parts, unet.build(), count=60)
    assert not np.array_equal(found, other), "what another UNet left was taken for its own"


def test_the_decoder_goes_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    codec = vae.build()
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    monkeypatch.setattr(data, "pictures", lambda work: pictures)
    latents = unet.encode(codec.eval(), pictures)
    recipe = replace(vae.DECODER, steps=2, batch=4, warmup=0, halved=False)
    tuned = vae.train_decoder(tmp_path, codec, (latents, latents), recipe)
    changed = {name.split(".")[0] for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_the_upscalers_codec_starts_where_the_other_is() -> None:
    torch.manual_seed(0)
    codec = vae.build().eval()
    more = fine.widened(codec).eval()
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = more.encode(pictures).latent_dist.mean
        assert latents.shape == (2, fine.LATENTS, 4, 4)
        assert torch.allclose(latents[:, :4], codec.encode(pictures).latent_dist.mean, atol=1e-5)
        latents[:, 4:] = 0
        assert torch.allclose(more.decode(latents).sample, codec.decode(latents[:, :4]).sample, atol=1e-4)


def test_scaled_latents_have_unit_deviation_and_the_pictures_stay() -> None:
    torch.manual_seed(0)
    codec = vae.build().eval().requires_grad_(False)
    pictures = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = codec.decode(codec.encode(pictures).latent_dist.mean).sample
    vae.scaled(codec, pictures)
    latents = codec.encode(pictures).latent_dist.mean
    assert torch.allclose((latents * vae.SCALING).std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(codec.decode(latents).sample, before, atol=1e-4)
