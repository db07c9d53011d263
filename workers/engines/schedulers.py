"""A scheduler by the name that manifests use, made from the model's own configuration."""

from typing import Any

from schemas.errors import RenderFailed
from schemas.samplers import SchedulerName, sampler
from workers.models.libraries import diffusers

# diffusers allows at most one of these.
_SIGMAS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def make_scheduler(own: Any, name: SchedulerName | None) -> Any:
    """A fresh scheduler: the named one with the model's own betas, prediction type and so on, else the model's own.

    Raises:
        RenderFailed: diffusers refuses this name for this model; the message says both and why.
    """
    if name is None:
        return type(own).from_config(own.config)
    class_name, config, _, _ = sampler(name)
    if any(flag in config for flag in _SIGMAS):
        config = {flag: False for flag in _SIGMAS if own.config.get(flag)} | config
    try:
        return getattr(diffusers, class_name).from_config(own.config, **config)
    except (ValueError, NotImplementedError, TypeError, ImportError) as error:
        kind = own.config.get("prediction_type", "epsilon")
        raise RenderFailed(f"scheduler {name} does not go with this model ({kind}): {error}") from None
