"""diffusers and transformers as the rest of this package sees them.

Their published types are partial: seen through `Any`, a call into them needs no exception at its own place.
"""

import importlib
import warnings
from typing import Any

diffusers: Any = importlib.import_module("diffusers")
transformers: Any = importlib.import_module("transformers")


def quiet_libraries() -> None:
    """No progress bars and no notices of both libraries in this process; their errors stay.

    Truncated prompts and missing safety checkers are told per row by our own code.
    """
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # SDXL's pipelines and the upscaler call, in half precision, what diffusers itself has deprecated.
    warnings.filterwarnings("ignore", message="`upcast_vae` is deprecated", category=FutureWarning)


def library_class(library: str, name: str) -> Any:
    """A class as `model_index.json` names it.

    transformers 5 dropped the `*FeatureExtractor` names of image processors, which old folders still use.

    Raises:
        AttributeError: the installed library has no such class.
    """
    if library == "stable_diffusion":
        return getattr(importlib.import_module("diffusers.pipelines.stable_diffusion.safety_checker"), name)
    if library == "diffusers":
        return getattr(diffusers, name)
    return getattr(transformers, name.replace("FeatureExtractor", "ImageProcessor"))


def mended(component: Any) -> Any:
    """The component, where both libraries disagree about it made to agree.

    transformers 5.6 put the parts of `CLIPTextModel` into the model itself; diffusers 0.42 still looks for its norm
    in `text_model` when `clip_skip` is given (huggingface/diffusers#14124). The name now leads to the model itself,
    past torch's registry of submodules, which must not hold a circle.
    """
    if type(component).__name__ == "CLIPTextModel" and not hasattr(component, "text_model"):
        component.__dict__["text_model"] = component
    return component
