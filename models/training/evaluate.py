"""Print every figure of the built-in models: `python -m models.training.evaluate [--models DIR] [--count 300]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.training import figures, render

MODELS = Path(__file__).resolve().parents[2] / "workers" / "builtin" / "shapes"
Report = dict[str, Any]


class Trials:
    """One method for each figure; each returns what is written to the report."""

    def __init__(self, models: Path, count: int, pictures: Path | None) -> None:
        """`pictures`, if given, is where sheets go."""
        self.models, self.count, self.pictures = models, count, pictures

    def _sheet(self, name: str, made: render.Pictures) -> None:
        if self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
            render.sheet(made[:60], 10, self.pictures / f"{name}.png")

    def judge(self) -> Report:
        """The judge itself."""
        true, swapped = figures.judge_itself(self.count)
        return {"true scenes": true.line(), "swapped captions": swapped.line()}

    def vae(self) -> Report:
        """Asked: 30 dB."""
        return {"PSNR dB": round(figures.codec(self.models, self.count), 2)}

    def clip(self) -> Report:
        """Asked: 90 %."""
        return {"right caption among 64 %": round(100 * figures.matching(self.models, self.count), 1)}

    def txt2img(self) -> Report:
        """Asked: background 97, colour 92, shape 85, place 80 %."""
        tally, made = figures.txt2img(self.models, self.count)
        self._sheet("txt2img", made)
        return {"held-out prompts": tally.line(), "guidance": render.GUIDANCE, "steps": render.STEPS}

    def guidance(self) -> Report:
        """Asked: rises."""
        sweep = figures.guidance_sweep(self.models, self.count // 3)
        return {"mean score % at guidance": {g: round(100 * s, 1) for g, s in sweep.items()}}

    def inpaint(self) -> Report:
        """Asked: outside as the VAE; inside 80 %."""
        found = figures.inpainting(self.models, self.count)
        self._sheet("inpaint", found.pictures)
        return {"outside PSNR dB": round(found.outside, 2), "of the VAE alone": round(found.codec, 2),
                "against what the VAE alone makes": round(found.added, 2),
                "asked object appears %": round(100 * found.appeared, 1)}  # fmt: skip

    def upscale(self) -> Report:
        """Asked: bicubic + 1.5 dB."""
        made_at, bicubic, made = figures.upscaling(self.models, self.count)
        self._sheet("upscale", made)
        fewer = max(20, self.count // 5)
        sweep = figures.step_sweep(self.models, fewer)
        return {"PSNR dB": round(made_at, 2), "bicubic": round(bicubic, 2), "gain": round(made_at - bicubic, 2),
                "steps": render.UPSCALE_STEPS,
                f"gain at steps, {fewer} prompts": {k: round(v, 2) for k, v in sweep.items()}}  # fmt: skip

    def depth(self) -> Report:
        """Asked: overlap 0.7, colours 85 %."""
        overlap, tally, made = figures.depth2img(self.models, self.count)
        self._sheet("depth", made)
        return {"overlap of object areas": round(overlap, 3), "other colours": tally.line()}

    def speed(self) -> Report:
        """Asked: well under 2 s."""
        return {"s a picture, one thread, 20 steps": round(figures.seconds_per_picture(self.models), 2)}


NAMES = ("judge", "vae", "clip", "txt2img", "guidance", "inpaint", "upscale", "depth", "speed")


def main() -> None:
    """The command."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--models", type=Path, default=MODELS)
    ask.add_argument("--count", type=int, default=300, help="held-out prompts")
    ask.add_argument("--only", choices=NAMES, action="append")
    ask.add_argument("--json", type=Path, help="write the report here too")
    ask.add_argument("--pictures", type=Path, help="folder for sheets of what was made")
    ask.add_argument("--threads", type=int)
    said = ask.parse_args()
    if said.threads:
        torch.set_num_threads(said.threads)
    trials = Trials(said.models, said.count, said.pictures)
    report: dict[str, Report] = {}
    for name in said.only or NAMES:
        measure: Callable[[], Report] = getattr(trials, name)
        report[name] = measure()
        for what, value in report[name].items():
            print(f"{name:9} {what}: {value}", flush=True)  # noqa: T201
    if said.json:
        said.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
