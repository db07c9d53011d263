"""A model as a folder in diffusers' format, read without torch: what it holds, and what is wrong with it.

Only `model_index.json` says what belongs to a model. Components are classes of diffusers and transformers by
name; a folder that brings code of its own, or weights in pickles only, is refused.
"""

import json
import math
import re
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from schemas.errors import ModelUnavailable

INDEX = "model_index.json"
# Libraries as model_index.json names them; stable_diffusion is diffusers' module with the safety checker.
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
_WITHOUT_WEIGHTS = ("tokenizer", "scheduler", "low_res_scheduler", "feature_extractor")
# A plain weight file has no dot in its stem; `x.fp16.safetensors` and `x.non_ema.safetensors` are variants.
# The safetensors format itself allows no larger one (its README, "Format").
_LARGEST_HEADER = 100_000_000
_PLAIN = re.compile(r"[^.]+\.safetensors")


@dataclass(frozen=True)
class ModelFolder:
    """One folder of a model.

    Attributes:
        path: the folder.
        revision: the hub's commit, or None.
        variant: file variant to prefer.
        components: component -> (library, class), without the empty ones.
        options: the pipeline's own options, such as `force_zeros_for_empty_prompt`.
    """

    path: Path
    revision: str | None
    variant: str | None
    components: dict[str, tuple[str, str]]
    options: dict[str, Any]

    def leaning_on(self, main: "ModelFolder") -> "ModelFolder":
        """The folder without the components that it names, does not hold, and that the model's main source has."""
        own = {name: kind for name, kind in self.components.items() if (self.path / name).is_dir()}
        lacking = {name: kind for name, kind in self.components.items() if name not in main.components}
        return replace(
            self, components={name: self.components[name] for name in self.components if name in own | lacking}
        )

    def weight_files(self, component: str) -> list[Path]:
        """The safetensors files of a component: of the variant if it has them, else the plain ones."""
        names = [file.name for file in (self.path / component).glob("*.safetensors")]
        return [self.path / component / name for name in pick_weights(names, self.variant)]

    def used_variant(self, component: str) -> str | None:
        """The variant under which a component's files lie here."""
        files = self.weight_files(component)
        return self.variant if files and not _PLAIN.fullmatch(files[0].name) else None

    def weight_bytes(self, component: str) -> int:
        """Size of a component's weights on disk."""
        return sum(file.stat().st_size for file in self.weight_files(component))

    def parameter_count(self, component: str) -> int:
        """Numbers in a component's weights, as the headers of its safetensors files say."""
        return sum(_numbers(file) for file in self.weight_files(component))

    def identity(self, component: str) -> tuple[str, ...]:
        """Equal for components with the same weights and configuration, also across folders.

        The hub's cache names its files by their content's hash; elsewhere the resolved path counts.
        """
        folder = self.path / component
        config = folder / "config.json"
        settings = sha256(config.read_bytes()).hexdigest() if config.exists() else str(folder.resolve())
        real = [file.resolve() for file in self.weight_files(component)]
        return (settings, *(file.name if file.parent.name == "blobs" else str(file) for file in real))

    def faults(self) -> list[str]:
        """What is missing: components without a folder, or without safetensors weights."""
        found = []
        for component in self.components:
            if not (self.path / component).is_dir():
                found.append(f"{component} is missing")
            elif needs_weights(component) and not self.weight_files(component):
                found.append(f"{component} has no safetensors weights, and no others are read")
        return found


def _numbers(file: Path) -> int:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length)) if length <= _LARGEST_HEADER else {}
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def needs_weights(component: str) -> bool:
    """Whether a component is a network. Tokenizers, schedulers and image processors are configuration only."""
    return not component.startswith(_WITHOUT_WEIGHTS)


def pick_weights(names: list[str], variant: str | None) -> list[str]:
    """Of one component's file names the ones to load, sorted: the variant's if there are any, else the plain.

    diffusers names variants `x.fp16.safetensors`, `x.fp16-00001-of-00002.safetensors` or, once,
    `x-00001-of-00002.fp16.safetensors`.
    """
    safe = sorted(name for name in names if name.endswith(".safetensors"))
    if variant:
        marked = re.compile(rf"[^.]+\.{re.escape(variant)}(-\d+-of-\d+)?\.safetensors")
        chosen = [name for name in safe if marked.fullmatch(name)]
        if chosen:
            return chosen
    return [name for name in safe if _PLAIN.fullmatch(name)]


def read_folder(path: Path, *, revision: str | None = None, variant: str | None = None) -> ModelFolder:
    """Read a model's folder.

    Raises:
        ModelUnavailable: no readable `model_index.json`, or a component that is not of diffusers or transformers.
    """
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelUnavailable(
            f"{path} has no {INDEX}", hint="a folder in diffusers' format, as save_pretrained writes it"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path / INDEX}: {error}") from None
    components, options = parse_index(index, str(path))
    return ModelFolder(path, revision, variant, components, options)


def parse_index(index: Any, where: str) -> tuple[dict[str, tuple[str, str]], dict[str, Any]]:
    """Components and options of a `model_index.json`.

    Raises:
        ModelUnavailable: not such a file, or it asks for code of its own.
    """
    if not isinstance(index, dict):
        raise ModelUnavailable(f"{where}: {INDEX} is not an object")
    if not isinstance(index.get("_class_name", ""), str):
        raise ModelUnavailable(f"{where} wants a pipeline of its own code, which is never run")
    components: dict[str, tuple[str, str]] = {}
    options: dict[str, Any] = {}
    for name, value in index.items():
        if name.startswith("_"):
            continue
        if not isinstance(value, list):
            options[name] = value
        elif len(value) == 2 and value[0] in LIBRARIES and isinstance(value[1], str) and value[1].isidentifier():
            components[name] = (value[0], value[1])
        elif any(value):
            raise ModelUnavailable(f"{where}: {name} is {value!r}, not a class of diffusers or transformers")
    if not all(name.isidentifier() for name in components):
        raise ModelUnavailable(f"{where}: {INDEX} has a component whose name is none")
    return components, options
