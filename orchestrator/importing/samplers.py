"""Samplers of tools that name the noise schedule apart, or in ways of their own -> a scheduler of ours, or none."""

import re

from schemas.samplers import SchedulerName, sampler, scheduler_called

# What `Schedule type` of A1111 and `scheduler` of ComfyUI and Fooocus say -> how our names end.
_SCHEDULES = {
    "": "",
    "automatic": "",
    "normal": "",
    "uniform": "",
    "karras": " Karras",
    "sgm_uniform": " SGM Uniform",
    "exponential": " Exponential",
    "beta": " Beta",
}
_KARRAS = re.compile(r"(?<=\w)_k$")  # InvokeAI: euler_k
_ON_GPU = re.compile(r"_gpu$")  # ComfyUI: where its noise is drawn


def scheduler_named(name: str, schedule: str = "") -> SchedulerName | None:
    """The scheduler that another tool's name means exactly (`dpmpp_2m_sde_gpu` with `karras`), or None.

    Args:
        name: the sampler's, with or without its noise schedule.
        schedule: the noise schedule where the tool names it apart.
    """
    ending = _SCHEDULES.get(re.sub(r"[\s\-_]+", "_", schedule.strip().casefold()))
    if ending is None:
        return None
    plain = _KARRAS.sub(" Karras", _ON_GPU.sub("", name.strip())).replace("kdpm_", "dpm_")
    alone = scheduler_called(plain)
    if not ending or (alone and sampler(alone).schedule_type == ending.strip()):
        return alone
    return scheduler_called(plain + ending)
