"""Train all built-in models: `python -m models.training.train --work DIR [--only vae] [--from DIR]`.

The order: the codec, CLIP, the UNet of txt2img, the codec's decoder, inpainting, the upscaler (its codec, its UNet,
then both on whole pictures), depth. Each stage resumes from its last checkpoint in the work folder, and a stage that is
done is only loaded. Stopping and starting again at any time is safe.

The decoder goes on when txt2img is there: half of what it learns from are latents as that UNet leaves them.

With `--from`, trained models go on: the codec, CLIP, the tokenizer and the depth estimator are taken as they are
(the UNets know their latents and their words); the decoder and the UNets of txt2img, inpainting and depth start from
what lies there. So does the upscaler with `--only whole`; its stages `fine` and `upscale` train it from nothing, and
bring `whole` along where it is to be written.
A work folder serves one such source.
"""

from __future__ import annotations

import argparse
import copy
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPModel, CLIPTokenizer, DPTForDepthEstimation

from models.training import (
    clip,
    data,
    depth,
    export,
    fine,
    inpaint,
    loop,
    record,
    tokenizer,
    txt2img,
    unet,
    upscale,
    vae,
)

# Who goes on takes smaller steps: at the full rate (2e-3) the txt2img UNet's loss in the middle of the noise rose from
# 0.150 to 0.170 in its first 150 steps, averaged weights and all.
GOING_ON = 0.5
GO_ON = ("decoder", "txt2img", "inpaint", "whole", "depth")
UPSCALER = ("fine", "upscale")  # what `whole` goes on from
STAGES = ("vae", "clip", "txt2img", "decoder", "inpaint", "fine", "upscale", "whole", "estimator", "depth")
log = logging.getLogger("models.training")


class Workshop:
    """The stages, each run at most once, on whose results the later ones stand."""

    def __init__(
        self,
        work: Path,
        stages: Sequence[str] = STAGES,
        steps: dict[str, int] | None = None,
        source: Path | None = None,
    ) -> None:
        """Everything is kept below the work folder; `steps` shortens or lengthens stages; `source`: see `--from`.

        Raises:
            OtherTraining: the work folder holds a training that went on from others.
        """
        self.work, self.stages, self.steps, self.source = work, stages, steps or {}, source
        self.done: dict[str, Any] = {}
        self.going_on: tuple[str, ...] = ()
        if source is not None:
            self.done, self.going_on = export.open_standing(source), GO_ON
            if set(UPSCALER) & set(stages):
                self.done = {name: model for name, model in self.done.items() if name not in UPSCALER}
                self.going_on = tuple(name for name in GO_ON if name != "whole")
        models = None if source is None else data.digest(unet.opened(source / "base" / "unet"))
        record.begin(work, source, models, set(GO_ON) - set(self.going_on))

    def _recipe(self, recipe: loop.Recipe) -> loop.Recipe:
        rate = recipe.rate * GOING_ON if recipe.name in self.going_on else recipe.rate
        return replace(recipe, steps=self.steps.get(recipe.name, recipe.steps), rate=rate)

    def _stage(self, name: str, make: Callable[[], object]) -> Any:
        if name not in self.done:
            log.info("%s: %.0f s spent so far", name, loop.progress(self.work, name)[1])
            self.done[name] = make()
            log.info("%s: done, %.0f s in all", name, loop.progress(self.work, name)[1])
        return self.done[name]

    def tokenizer(self) -> CLIPTokenizer:
        """The vocabulary; made in a moment."""
        return self._stage("tokenizer", lambda: tokenizer.build(self.work / "tokenizer"))

    def vae(self) -> AutoencoderKL:
        """The codec as the UNets know it."""
        return self._stage("vae", lambda: vae.train(self.work, self._recipe(vae.RECIPE)))

    def decoder(self) -> AutoencoderKL:
        """The codec with the decoder trained on."""

        def make() -> AutoencoderKL:
            net = copy.deepcopy(self.drawn())
            clean = txt2img.conditions(self.work, self.parts()).latents
            left = txt2img.finished(self.work, self.parts(), net)
            return vae.train_decoder(self.work, copy.deepcopy(self.vae()), (clean, left), self._recipe(vae.DECODER))

        return self._stage("decoder", make)

    def decoded(self) -> AutoencoderKL:
        """The codec to ship."""
        return self.decoder() if self.source is None or "decoder" in self.stages else self.vae()

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

    def drawn(self) -> UNet2DConditionModel:
        """The txt2img UNet to ship."""
        if self.source is None or "txt2img" in self.stages:
            return self.txt2img()
        return unet.opened(self.source / "base" / "unet")

    def _fork(self, name: str, channels: int) -> UNet2DConditionModel:
        """The UNet to go on with, else one made from that of txt2img."""
        if self.source is not None:
            return unet.opened(self.source / name / "unet")
        return unet.widened(self.txt2img(), channels)

    def inpaint(self) -> UNet2DConditionModel:
        """Nine channels in."""
        recipe = self._recipe(inpaint.RECIPE)
        start, parts = self._fork("inpaint", inpaint.CHANNELS), replace(self.parts(), codec=self.decoded())
        knows_how = self.source is not None
        return self._stage("inpaint", lambda: inpaint.train(self.work, parts, start, recipe, knows_how=knows_how))

    def fine(self) -> AutoencoderKL:
        """The upscaler's codec."""
        return self._stage("fine", lambda: fine.train(self.work, self.vae(), self._recipe(fine.RECIPE)))

    def upscale(self) -> UNet2DConditionModel:
        """Its own latents and three colours in, at 64x64."""
        recipe = self._recipe(upscale.RECIPE)
        return self._stage("upscale", lambda: upscale.train(self.work, self.parts(), self.fine(), recipe))

    def whole(self) -> tuple[nn.Module, AutoencoderKL]:
        """The upscaler once it knows whole pictures: its UNet, and its codec with the decoder trained on."""
        recipe = self._recipe(upscale.ON_WHOLE)

        def make() -> tuple[nn.Module, AutoencoderKL]:
            net, codec = self.upscale(), copy.deepcopy(self.fine())
            return upscale.train_on_whole(self.work, self.parts(), net, codec, recipe)

        return self._stage("whole", make)

    def estimator(self) -> DPTForDepthEstimation:
        """Pictures to nearness."""
        recipe = self._recipe(depth.ESTIMATOR)
        return self._stage("estimator", lambda: depth.train_estimator(self.work, recipe))

    def depth(self) -> UNet2DConditionModel:
        """Five channels in."""
        recipe = self._recipe(depth.RECIPE)
        start = self._fork("depth", depth.CHANNELS)
        return self._stage("depth", lambda: depth.train(self.work, self.parts(), start, recipe))


def run(
    work: Path,
    stages: Sequence[str] = STAGES,
    out: Path | None = None,
    steps: dict[str, int] | None = None,
    source: Path | None = None,
) -> None:
    """Train the stages, and write what is trained to `out` if given."""
    shop = Workshop(work, stages, steps, source)
    for stage in (name for name in STAGES if name in stages):
        getattr(shop, stage)()
    if out is not None:
        _write(out, shop)


def _write(out: Path, shop: Workshop) -> None:
    """Export what the stages trained; what they did not is that of the source."""
    stages = shop.stages
    if shop.source is not None:
        shutil.copytree(shop.source, out, dirs_exist_ok=True)
    if shop.source is None or {"txt2img", "decoder"} & set(stages):
        export.export_base(out, shop.decoded(), shop.clip(), shop.tokenizer(), shop.drawn())
    if "inpaint" in stages:
        export.export_own(out, "inpaint", shop.inpaint())
    if {*UPSCALER, "whole"} & set(stages):
        net, codec = shop.whole()
        export.export_own(out, "upscale", net, vae=codec)
    if "depth" in stages:
        export.export_own(out, "depth", shop.depth(), depth_estimator=shop.estimator())
    record.write(out, shop.work, STAGES, shop.going_on)


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
    if said.out and said.source and said.out.resolve() == said.source.resolve():
        ask.error("--out: name another folder than --from; checkpoints know the weights that they began with")
    try:
        run(said.work, said.only or STAGES, said.out, dict(said.steps), said.source)
    except loop.OtherTraining as error:
        ask.error(str(error))


if __name__ == "__main__":
    main()
