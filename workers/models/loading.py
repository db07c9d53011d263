"""One model in memory: its components, each loaded once, and the pipelines made of them."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from schemas.catalogue import ModelEntry
from schemas.errors import ModelUnavailable
from schemas.rows import PipelineName
from workers.models.folders import ModelFolder, needs_weights
from workers.models.libraries import diffusers, library_class, mended
from workers.models.memory import is_out_of_memory

# Components that no pipeline gets from us: the safety checker is called by our own code, the rest is unused.
_NEVER = ("safety_checker", "image_encoder", "feature_extractor", "watermarker")


@dataclass
class LoadedModel:
    """A model's weights on the device, shared between its pipelines.

    Attributes:
        alias: canonical alias.
        folders: source -> folder.
        make_room: called with the bytes that are about to be loaded.
    """

    alias: str
    entry: ModelEntry
    folders: Mapping[str, ModelFolder]
    device: torch.device
    dtype: torch.dtype
    make_room: Callable[[int], None]
    pipelines: dict[PipelineName, Any] = field(default_factory=dict)
    _components: dict[tuple[str, ...], Any] = field(default_factory=dict)

    @property
    def main(self) -> ModelFolder:
        """The folder of the model's main source."""
        return self.folders[self.entry.source]

    def pipeline(self, name: PipelineName, class_name: str, wanted: Iterable[str] = ()) -> Any:
        """A pipeline of this model as an object of diffusers, loading what it lacks.

        Args:
            name: the pipeline.
            class_name: its class in diffusers.
            wanted: optional components that it needs all the same.

        Raises:
            ModelUnavailable: a component is missing or cannot be loaded.
        """
        if name not in self.pipelines:
            self.pipelines[name] = self._assemble(name, getattr(diffusers, class_name), tuple(wanted))
        return self.pipelines[name]

    def component(self, name: str, folder: ModelFolder) -> Any:
        """One component on the device, loaded once however many folders hold it.

        Raises:
            ModelUnavailable: it cannot be loaded; the message says which and why.
        """
        if not needs_weights(name):
            return self._load(name, folder)
        key = folder.identity(name)
        if key not in self._components:
            self.make_room(folder.parameter_count(name) * self.dtype.itemsize)
            self._components[key] = self._load(name, folder).to(self.device)
        return self._components[key]

    def restore(self) -> None:
        """Undo what a pipeline that was left in its middle has changed: the XL ones and the upscaler cast their
        VAE to float32 for a while."""
        for pipe in self.pipelines.values():
            if pipe.vae.dtype != self.dtype:
                pipe.vae.to(dtype=self.dtype)

    def _assemble(self, name: PipelineName, kind: Any, wanted: tuple[str, ...]) -> Any:
        own = self.folders[self.entry.source_of(name)]
        options = self.main.options | own.options | {"requires_safety_checker": False, "add_watermarker": False}
        given: dict[str, Any] = {}
        for part, parameter in inspect.signature(kind.__init__).parameters.items():
            folder = own if part in own.components else self.main
            if part in _NEVER and part not in wanted:
                if parameter.default is inspect.Parameter.empty:
                    given[part] = None
            elif part in folder.components:
                given[part] = self.component(part, folder)
            elif part in options:
                given[part] = options[part]
            elif part != "self" and parameter.default is inspect.Parameter.empty:
                raise ModelUnavailable(f"model {self.alias} has no {part}, which {name} needs ({folder.path})")
        pipe = kind(**given)
        pipe.set_progress_bar_config(disable=True)
        # Pictures leave the VAE one by one: a large batch needs no more memory than one, and the same bits come out.
        pipe.vae.enable_slicing()
        return pipe

    def _load(self, name: str, folder: ModelFolder) -> Any:
        library, class_name = folder.components[name]
        arguments: dict[str, Any] = {}
        if needs_weights(name):
            arguments = {"dtype": self.dtype, "use_safetensors": True, "local_files_only": True}
            variant = folder.used_variant(name)
            arguments |= {"variant": variant} if variant else {}
        try:
            return mended(library_class(library, class_name).from_pretrained(str(folder.path / name), **arguments))
        except Exception as error:  # a broken file, a missing class, a wrong configuration: each library has its own
            if is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {error}"[:500]
            raise ModelUnavailable(f"model {self.alias}: {name} in {folder.path} cannot be loaded: {reason}") from error
