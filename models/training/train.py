"""Train all built-in models from nothing: `python -m models.training.train --work DIR [--only vae]`.

The order: the codec, CLIP, then the UNets; each stage resumes from its last checkpoint in the work folder, and
a stage that is done is only loaded. Stopping and starting again at any time is safe.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPModel, CLIPTokenizer

from models.training import clip, depth, inpaint, loop, tokenizer, txt2img, upscale, vae

STAGES = ("vae", "clip", "txt2img", "decoder", "inpaint", "upscale", "estimator", "depth")
log = logging.getLogger("models.training")


class Workshop:
    """The stages, each run at most once, on whose results the later ones stand."""

    def __init__(self, work: Path) -> None:
        """Everything is kept below the work folder."""
        self.work = work
        self.done: dict[str, object] = {}

    def _stage(self, name: str, make: Callable[[], object]) -> object:
        if name not in self.done:
            log.info("%s: from step %d s on", name, loop.seconds_spent(self.work, name))
            self.done[name] = make()
            log.info("%s: done after %.0f s in all", name, loop.seconds_spent(self.work, name))
        return self.done[name]

    def tokenizer(self) -> CLIPTokenizer:
        """The vocabulary; made in a moment."""
        return self._stage("tokenizer", lambda: tokenizer.build(self.work / "tokenizer"))

    def vae(self) -> AutoencoderKL:
        """The codec as the UNets know it."""
        return self._stage("vae", lambda: vae.train(self.work))

    def decoder(self) -> AutoencoderKL:
        """The codec with the decoder trained on."""
        return self._stage("decoder", lambda: vae.train_decoder(self.work, self.vae()))

    def clip(self) -> CLIPModel:
        """Both towers."""
        return self._stage("clip", lambda: clip.train(self.work, self.tokenizer()))

    def parts(self) -> txt2img.Parts:
        """What UNets stand on."""
        return txt2img.Parts(self.vae(), self.clip(), self.tokenizer())

    def txt2img(self) -> UNet2DConditionModel:
        """The UNet that the others start from."""
        return self._stage("txt2img", lambda: txt2img.train(self.work, self.parts()))

    def inpaint(self) -> UNet2DConditionModel:
        """Nine channels in."""
        return self._stage("inpaint", lambda: inpaint.train(self.work, self.parts(), self.txt2img()))

    def upscale(self) -> UNet2DConditionModel:
        """Seven channels in, at 64x64."""
        return self._stage("upscale", lambda: upscale.train(self.work, self.parts()))

    def estimator(self) -> object:
        """Pictures to nearness."""
        return self._stage("estimator", lambda: depth.train_estimator(self.work))

    def depth(self) -> UNet2DConditionModel:
        """Five channels in."""
        return self._stage("depth", lambda: depth.train(self.work, self.parts(), self.txt2img()))


def main() -> None:
    """The command."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--work", type=Path, required=True, help="folder for data, checkpoints and logs")
    ask.add_argument("--only", choices=STAGES, action="append", help="stop after this stage (may be repeated)")
    ask.add_argument("--threads", type=int, help="CPU threads")
    said = ask.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if said.threads:
        torch.set_num_threads(said.threads)
    shop = Workshop(said.work)
    for stage in said.only or STAGES:
        getattr(shop, stage)()


if __name__ == "__main__":
    main()
