"""The figures that the built-in models must show, each measured on the exported files."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from models.training import clip, data, draw, export, inpaint, judge, loop, render, upscale, vae, verdict
from models.training.render import Pictures
from models.training.scenes import COLOURS, Scene

SWEEP = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
STEP_SWEEP = (1, 2, 4, 20)


def tensor(pictures: Pictures) -> torch.Tensor:
    """(n, 3, h, w) in -1..1."""
    return data.to_tensor(pictures, loop.device())


def judge_itself(count: int) -> tuple[verdict.Tally, verdict.Tally]:
    """The judge on true pictures, and on the same pictures under each other's captions."""
    chosen = render.trial_scenes(count)
    true = render.drawn(chosen)
    return verdict.judge_all(chosen, true), verdict.judge_all(chosen, np.roll(true, 1, axis=0))


def codec(models: Path, count: int) -> float:
    """PSNR of the VAE's reconstruction, dB."""
    pipeline = export.open_pipeline(models, "txt2img")
    pictures = tensor(render.drawn(render.trial_scenes(count)))
    return float(np.mean([vae.measure(pipeline.vae, part) for part in torch.split(pictures, 50)]))


def matching(models: Path, count: int) -> float:
    """Share of pictures whose caption CLIP finds among 64."""
    model = CLIPModel.from_pretrained(models / "clip", local_files_only=True)
    words = CLIPTokenizer.from_pretrained(models / "clip", local_files_only=True)
    chosen = render.trial_scenes(count - count % 64)
    return clip.matches(model, words, tensor(render.drawn(chosen)), render.prompts(chosen))


def txt2img(models: Path, count: int, guidance: float = render.GUIDANCE) -> tuple[verdict.Tally, Pictures]:
    """Pictures from held-out prompts, and what the judge says."""
    chosen = render.trial_scenes(count)
    pipeline = export.open_pipeline(models, "txt2img")
    made = render.render(pipeline, render.prompts(chosen), guidance_scale=guidance)
    return verdict.judge_all(chosen, made), made


def guidance_sweep(models: Path, count: int) -> dict[float, float]:
    """Guidance to the judge's mean score."""
    return {g: txt2img(models, count, g)[0].score() for g in SWEEP}


def _asked(chosen: list[Scene]) -> tuple[list[Scene], list[NDArray[np.bool_]]]:
    """For each scene one with its last thing recoloured, and a mask around that thing."""
    rng = np.random.default_rng(render.TRIAL_SEED + 1)
    wanted, masks = [], []
    for scene in chosen:
        last = scene.things[-1]
        others = [c for c in COLOURS if c not in (scene.background, *(t.colour for t in scene.things))]
        thing = replace(last, colour=others[int(rng.integers(len(others)))])
        wanted.append(replace(scene, things=(*scene.things[:-1], thing)))
        masks.append(inpaint.around(last, rng))
    return wanted, masks


class Inpainted(NamedTuple):
    """PSNRs, dB, outside of the mask: of the picture, of what the VAE alone makes of the input, and of one against the
    other; the share of asked objects that appear; the pictures."""

    outside: float
    codec: float
    added: float
    appeared: float
    pictures: Pictures


def inpainting(models: Path, count: int) -> Inpainted:
    """Fill a masked area of true pictures.

    Asked for is another colour of the thing under the mask, in single and pair scenes.
    """
    chosen = render.trial_scenes(count // 2, "single") + render.trial_scenes(count - count // 2, "pair")
    wanted, masks = _asked(chosen)
    before = render.drawn(chosen)
    pipeline = export.open_pipeline(models, "inpaint")
    areas = [Image.fromarray(m.astype(np.uint8) * 255) for m in masks]
    made = render.render(
        pipeline, render.prompts(wanted), image=render.pil(before), mask_image=areas, strength=1.0,
        height=data.SIZE, width=data.SIZE,
    )  # fmt: skip
    with torch.no_grad():
        back = pipeline.vae.decode(pipeline.vae.encode(tensor(before)).latent_dist.mean).sample
    coded = ((back.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
    appeared = [_appears(s, m, p) for s, m, p in zip(wanted, masks, made, strict=True)]
    keep = ~np.stack(masks)
    against = (made, before), (coded, before), (made, coded)
    return Inpainted(*(_psnr(a, b, keep) for a, b in against), float(np.mean(appeared)), made)


def _appears(wanted: Scene, mask: NDArray[np.bool_], picture: Pictures) -> bool:
    """Whether a blob of the asked colour and shape lies in the mask."""
    thing = wanted.things[-1]
    for blob in judge.look(picture).blobs:
        inside = mask[min(data.SIZE - 1, int(blob.y * data.SIZE)), min(data.SIZE - 1, int(blob.x * data.SIZE))]
        if inside and blob.colour == thing.colour and blob.shape == thing.shape:
            return True
    return False


def _psnr(a: Pictures, b: Pictures, keep: NDArray[np.bool_] | None = None) -> float:
    """Mean over pictures of the PSNR, dB, where `keep` (n, h, w) says."""
    error = ((a.astype(float) - b.astype(float)) ** 2).mean(-1)
    each = [e[k].mean() for e, k in zip(error, keep, strict=True)] if keep is not None else error.mean((1, 2))
    return float(np.mean(10 * np.log10(255.0**2 / np.maximum(np.asarray(each), 1e-6))))


def upscaling(
    models: Path, count: int, steps: int = render.UPSCALE_STEPS, level: int = 20
) -> tuple[float, float, Pictures]:
    """(PSNR of the upscaler, PSNR of bicubic, pictures): 64x64 to 256x256, against the true large pictures."""
    chosen = render.trial_scenes(count)
    large = render.drawn(chosen, data.LARGE)
    small = upscale.shrunk(large)
    pipeline = export.open_pipeline(models, "upscale")
    made = render.render(
        pipeline, render.prompts(chosen), batch=5, image=render.pil(small), noise_level=level, guidance_scale=1.0,
        num_inference_steps=steps,
    )  # fmt: skip
    plain = np.stack(
        [np.asarray(p.resize((data.LARGE, data.LARGE), Image.Resampling.BICUBIC)) for p in render.pil(small)]
    )
    return _psnr(made, large), _psnr(plain, large), made


def step_sweep(models: Path, count: int) -> dict[int, float]:
    """Steps to how much nearer than bicubic the upscaler is, dB."""
    found = {steps: upscaling(models, count, steps) for steps in STEP_SWEEP}
    return {steps: made_at - bicubic for steps, (made_at, bicubic, _) in found.items()}


def depth2img(models: Path, count: int) -> tuple[float, verdict.Tally, Pictures]:
    """(overlap of object areas with the source's, the judge's tally, pictures): the same scenes in other colours."""
    rng = np.random.default_rng(render.TRIAL_SEED + 2)
    chosen = render.trial_scenes(count)
    wanted = []
    for scene in chosen:
        colours = rng.permutation(list(COLOURS))[: 1 + len(scene.things)]
        first = str(colours[1])
        things = [replace(t, colour=first if scene.kind == "count" else str(c))
                  for t, c in zip(scene.things, colours[1:], strict=True)]  # fmt: skip
        wanted.append(replace(scene, background=str(colours[0]), things=tuple(things)))
    pipeline = export.open_pipeline(models, "depth")
    made = render.render(pipeline, render.prompts(wanted), image=render.pil(render.drawn(chosen)), strength=1.0)
    overlaps = []
    for scene, picture in zip(chosen, made, strict=True):
        true = np.any([draw.area(t, data.SIZE) for t in scene.things], axis=0)
        blobs = judge.look(picture).blobs
        seen = np.any([b.mask for b in blobs], axis=0) if blobs else np.zeros_like(true)
        overlaps.append(judge.overlap(true, seen))
    return float(np.mean(overlaps)), verdict.judge_all(wanted, made), made


def seconds_per_picture(models: Path) -> float:
    """One prompt, 20 steps, one thread; the best of three."""
    pipeline = export.open_pipeline(models, "txt2img")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        render.render(pipeline, ["a red circle on a blue background"])
        times.append(time.perf_counter() - began)
    torch.set_num_threads(threads)
    return min(times)
