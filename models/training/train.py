"""Train all built-in models: `python -m models.training.train --work DIR [--only vae] [--from DIR]`.

The order: the codec, CLIP, then the UNets; each stage resumes from its last checkpoint in the work folder, and
a stage that is done is only loaded. Stopping and starting again at any time is safe.

With `--from`, trained models go on: the codec, CLIP, the tokenizer and the depth estimator are taken as they are
(the UNets know their latents and their words), the decoder and the txt2img UNet start from what lies there, and
the inpainting and depth UNets, as ever, from the txt2img one.
"""

from __future__ import annotations

import argparse
import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTokenizer, DPTForDepthEstimation

from models.training import clip, depth, export, fine, inpaint, loop, tokenizer, txt2img, unet, upscale, vae

STAGES = ("vae", "clip", "txt2img", "decoder", "inpaint", "fine", "upscale", "estimator", "depth")
log = logging.getLogger("models.training")


class Workshop:
    """The stages, each run at most once, on whose results the later ones stand."""

    def __init__(self, work: Path, steps: dict[str, int] | None = None, source: Path | None = None) -> None:
        """Everything is kept below the work folder; `steps` shortens or lengthens stages; `source`: see `--from`."""
        self.work, self.steps, self.source = work, steps or {}, source
        self.done: dict[str, Any] = {} if source is None else export.open_standing(source)

    def _recipe(self, recipe: loop.Recipe) -> loop.Recipe:
        return replace(recipe, steps=self.steps.get(recipe.name, recipe.steps))

    def _stage(self, name: str, make: Callable[[], object]) -> Any:
        if name not in self.done:
            log.info("%s: %.0f s spent so far", name, loop.seconds_spent(self.work, name))
            self.done[name] = make()
            log.info("%s: done, %.0f s in all", name, loop.seconds_spent(self.work, name))
        return self.done[name]

    def tokenizer(self) -> CLIPTokenizer:
        """The vocabulary; made in a moment."""
        return self._stage("tokenizer", lambda: tokenizer.build(self.work / "tokenizer"))

    def vae(self) -> AutoencoderKL:
        """The codec as the UNets know it."""
        return self._stage("vae", lambda: vae.train(self.work, self._recipe(vae.RECIPE)))

    def decoder(self) -> AutoencoderKL:
        """The codec with the decoder trained on."""
        recipe = self._recipe(vae.DECODER)
        return self._stage("decoder", lambda: vae.train_decoder(self.work, copy.deepcopy(self.vae()), recipe))

    def clip(self) -> CLIPModel:
        """Both towers."""
        return self._stage("clip", lambda: clip.train(self.work, self.tokenizer(), self._recipe(clip.RECIPE)))

    def parts(self) -> txt2img.Parts:
        """What UNets stand on."""
        return txt2img.Parts(self.vae(), self.clip(), self.tokenizer())

    def txt2img(self) -> UNet2DConditionModel:
        """The UNet that the others start from."""
        recipe = self._recipe(txt2img.RECIPE)
        start = None if self.source is None else unet.opened(self.source / "base" / "unet")
        return self._stage("txt2img", lambda: txt2img.train(self.work, self.parts(), recipe, start))

    def inpaint(self) -> UNet2DConditionModel:
        """Nine channels in."""
        recipe = self._recipe(inpaint.RECIPE)
        return self._stage("inpaint", lambda: inpaint.train(self.work, self.parts(), self.txt2img(), recipe))

    def fine(self) -> AutoencoderKL:
        """The upscaler's codec."""
        return self._stage("fine", lambda: fine.train(self.work, self.vae(), self._recipe(fine.RECIPE)))

    def upscale(self) -> UNet2DConditionModel:
        """Its own latents and three colours in, at 64x64."""
        recipe = self._recipe(upscale.RECIPE)
        return self._stage("upscale", lambda: upscale.train(self.work, self.parts(), self.fine(), recipe))

    def estimator(self) -> DPTForDepthEstimation:
        """Pictures to nearness."""
        recipe = self._recipe(depth.ESTIMATOR)
        return self._stage("estimator", lambda: depth.train_estimator(self.work, recipe))

    def depth(self) -> UNet2DConditionModel:
        """Five channels in."""
        recipe = self._recipe(depth.RECIPE)
        return self._stage("depth", lambda: depth.train(self.work, self.parts(), self.txt2img(), recipe))


def run(
    work: Path,
    stages: Sequence[str] = STAGES,
    out: Path | None = None,
    steps: dict[str, int] | None = None,
    source: Path | None = None,
) -> None:
    """Train the stages, and write what is trained to `out` if given."""
    shop = Workshop(work, steps, source)
    for stage in stages:
        getattr(shop, stage)()
    if out is None:
        return
    export.export_base(out, shop.decoder(), shop.clip(), shop.tokenizer(), shop.txt2img())
    if "inpaint" in stages:
        export.export_own(out, "inpaint", shop.inpaint())
    if "upscale" in stages:
        export.export_own(out, "upscale", shop.upscale(), vae=shop.fine())
    if "depth" in stages:
        export.export_own(out, "depth", shop.depth(), depth_estimator=shop.estimator())


def _steps(words: str) -> tuple[str, int]:
    name, _, count = words.partition("=")
    if name not in STAGES or not count.isdigit():
        raise argparse.ArgumentTypeError(f"{words!r} is not STAGE=STEPS, with a stage of {', '.join(STAGES)}")
    return name, int(count)


def main() -> None:
    """The command."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--work", type=Path, required=True, help="folder for data, checkpoints and logs")
    ask.add_argument("--only", choices=STAGES, action="append", help="these stages, and what they stand on")
    ask.add_argument("--from", dest="source", type=Path, metavar="DIR", help="go on with the trained models there")
    ask.add_argument("--out", type=Path, help="write the trained models to this folder")
    ask.add_argument("--steps", type=_steps, action="append", default=[], metavar="STAGE=STEPS")
    ask.add_argument("--threads", type=int, help="CPU threads; one is fastest where the cores are shared")
    said = ask.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if said.threads:
        torch.set_num_threads(said.threads)
    run(said.work, said.only or STAGES, said.out, dict(said.steps), said.source)


if __name__ == "__main__":
    main()
