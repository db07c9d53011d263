"""The model card, from what was measured: `python -m models.training.card --report FILE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from models.training import data, depth, export, inpaint, record, render, upscale
from models.training.evaluate import MODELS
from models.training.scenes import COLOURS, HELD_OUT_SHARE, SHAPES
from models.training.train import STAGES

PROMPTS = (
    "a red circle on a white background",
    "a yellow star on a blue background",
    "a green triangle left of an orange square on a white background",
    "a white ring on a purple background",
    "a large pink circle on a black background",
    "three blue squares on a yellow background",
    "a red star above a green ring on a gray background",
    "an orange cross in the top left corner on a blue background",
    "a white star in front of a red square on a green background",
    "a small black square at the bottom on a pink background",
    "a purple triangle on a striped yellow background",
    "a blue circle below a yellow triangle on a red background",
)
ASKED = {
    "vae": "reconstruction at least 30 dB",
    "clip": "at least 90 %",
    "txt2img": "background 97 %, colour 92 %, shape 85 %, place (position or relation) 80 %",
    "guidance": "more guidance, higher score",
    "inpaint": "outside the mask within the VAE's error; the asked object in 80 %",
    "upscale": "1.5 dB nearer than bicubic",
    "depth": "overlap 0.7, colours 85 %",
    "speed": "well under 2 s",
    "judge": "true scenes 99 %, swapped captions at chance",
}
HEAD = """# `shapes`: the built-in models

Small models of Stable Diffusion's architecture that draw coloured shapes from a prompt, offline, on a
CPU. They are for first steps, demonstrations and tests: they show that prompt, seed, mask, depth map
and small picture do what they should. They are trained by `models/training` alone, from nothing.

![Twelve prompts, one seed each](sheet.png)

From left to right, row by row: {prompts}.

## What is here
| folder | what | loads as |
|---|---|---|
| `base/` | txt2img and img2img, {side}x{side} | `StableDiffusionPipeline`, `StableDiffusionImg2ImgPipeline` |
| `inpaint/` | nine-channel UNet | `StableDiffusionInpaintPipeline` |
| `upscale/` | {side}x{side} to {large}x{large}, with a noise level | `StableDiffusionUpscalePipeline` |
| `depth/` | five-channel UNet and a small DPT | `StableDiffusionDepth2ImgPipeline` |
| `clip/` | both towers, for scores | `CLIPModel` |

`inpaint/`, `upscale/` and `depth/` do not repeat what they share with `base/`: give them its `vae`,
`text_encoder` and `tokenizer`, as `models.training.export.open_pipeline` does. Weights are float16 in
safetensors; {size:.1f} MB in all. All schedulers predict v and end in pure noise (`rescale_betas_zero_snr`,
`timestep_spacing="trailing"`); give other samplers the same settings.
The default guidance is {guidance:g}.

## What they were trained on
Scenes that a program draws: one to four of {shapes} in {colours}; places, sizes, "left of", "above", "in front
of", counts; plain, gradient and striped backgrounds; several phrasings. No photograph, no person's drawing, no
text from anywhere. {scenes:,} scenes (of these {masked:,} for inpainting, {deep:,} for depth, {pieces:,} pieces of
{parted:,} for the upscaler; the codec's encoder and CLIP that are shipped saw the first 40,000). One in {held}
combinations of object colour, shape and background colour never occurs in training; all trials below use prompts with
such a combination.

| stage | steps | hours on one shared CPU core |
|---|---|---|
{stages}

Of the upscaler `fine` is the codec and `upscale` the UNet, on pieces; in `whole` the UNet and the codec's decoder go on
together, on {whole:,} whole pictures and the same ones tinted. The one that is shipped had sixteen groups in each norm
of its UNet until it had seen 2,400 steps of `whole`, none of them tinted; then they were made one, scales and offsets
fitted so that usual pictures came through as before, and `whole` went on. One UNet trained so from nothing was not
made.

## Figures
Printed by `python -m models.training.evaluate`. The judge is a program that measures pictures by colour and outline.

| trial | asked | measured |
|---|---|---|
{figures}

## What they cannot do
- Anything but these shapes and colours: other words were trained to mean nothing (not measured), and a prompt
  without known words gives some scene. English only; other scripts tokenize, but were never trained on.
- More than four things, more than one relation, "not", "between", sizes in pairs.
- Sizes far from {side}x{side} (the upscaler: any small picture of this kind).
- Upscaling in many steps: with each the upscaler builds more on its own guesses. The fewest are
  best: {few} are its default.
- Photographs: the codec and the upscaler know flat areas and edges only, and ten colours with the shades about them.
  Any other is drawn towards those: a brown comes out as a dark green.
- Figures above that miss what was asked are as they are: training on (`models.training.train` resumes) helps.
"""


def _stages(models: Path) -> str:
    spent = record.read(models)
    return "\n".join(
        f"| {stage} | {spent[stage]['steps']:,.0f} | {spent[stage]['hours']:.2f} |"
        for stage in STAGES
        if stage in spent
    )


def _figures(report: dict[str, dict[str, Any]]) -> str:
    rows = []
    for trial, found in report.items():
        said = "; ".join(f"{what}: {value}" for what, value in found.items())
        rows.append(f"| {trial} | {ASKED[trial]} | {said} |")
    return "\n".join(rows)


def write(models: Path, report: dict[str, dict[str, Any]]) -> None:
    """`MODEL_CARD.md` and `sheet.png` in the models' folder."""
    made = render.render(export.open_pipeline(models, "txt2img"), list(PROMPTS))
    render.sheet(made, 6, models / "sheet.png")
    (models / "MODEL_CARD.md").write_text(text(models, report))


def text(models: Path, report: dict[str, dict[str, Any]]) -> str:
    """The card."""
    size = sum(p.stat().st_size for p in models.rglob("*.safetensors")) / 1e6
    return HEAD.format(
        prompts="; ".join(f'"{p}"' for p in PROMPTS), side=data.SIZE, large=data.LARGE, size=size,
        guidance=render.GUIDANCE, few=render.UPSCALE_STEPS,
        shapes=", ".join(SHAPES), colours=", ".join(COLOURS), scenes=data.COUNT,
        masked=inpaint.COUNT, pieces=upscale.COUNT, parted=upscale.COUNT // 3, whole=upscale.WHOLE, deep=depth.COUNT,
        held=HELD_OUT_SHARE, stages=_stages(models), figures=_figures(report),
    )  # fmt: skip


def main() -> None:
    """The command."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--models", type=Path, default=MODELS)
    ask.add_argument("--report", type=Path, required=True, help="what `evaluate --json` wrote")
    said = ask.parse_args()
    write(said.models, json.loads(said.report.read_text()))


if __name__ == "__main__":
    main()
