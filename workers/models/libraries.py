"""diffusers and transformers as the rest of this package sees them.

Their published types are partial: seen through `Any`, a call into them needs no exception at its own place.
"""

import importlib
from typing import Any

diffusers: Any = importlib.import_module("diffusers")
transformers: Any = importlib.import_module("transformers")


def quiet_libraries() -> None:
    """No progress bars and no notices of both libraries in this process; their errors stay.

    Truncated prompts and missing safety checkers are told per row by our own code.
    """
    from huggingface_hub.utils.tqdm import disable_progress_bars

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()


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
