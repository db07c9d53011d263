"""Schedulers by the names that manifests use, and what each means in diffusers.

The table follows diffusers' documentation ("Schedulers", A1111 / k-diffusion comparison): a name is a scheduler
class and the configuration that differs from the model's own.
"""

import re
from typing import Any, Literal, NamedTuple, get_args

SchedulerName = Literal[
    "euler",
    "euler_a",
    "heun",
    "lms",
    "dpm2",
    "dpm2_a",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_sde",
    "ddim",
    "ddpm",
    "pndm",
    "unipc",
    "lcm",
    "euler_karras",
    "heun_karras",
    "lms_karras",
    "dpm2_karras",
    "dpm2_a_karras",
    "dpmpp_2m_karras",
    "dpmpp_2m_sde_karras",
    "dpmpp_sde_karras",
    "unipc_karras",
    "euler_trailing",
    "dpmpp_2m_trailing",
    "ddim_trailing",
    "euler_exponential",
    "dpmpp_2m_exponential",
    "euler_beta",
    "dpmpp_2m_beta",
]
SCHEDULERS: tuple[SchedulerName, ...] = get_args(SchedulerName)


class Sampler(NamedTuple):
    """A diffusers scheduler class by name, its configuration, and A1111's two names for it."""

    class_name: str
    config: dict[str, Any]
    a1111: str
    schedule_type: str


_BASE: dict[str, tuple[str, dict[str, Any], str]] = {
    "euler": ("EulerDiscreteScheduler", {}, "Euler"),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}, "Euler a"),
    "heun": ("HeunDiscreteScheduler", {}, "Heun"),
    "lms": ("LMSDiscreteScheduler", {}, "LMS"),
    "dpm2": ("KDPM2DiscreteScheduler", {}, "DPM2"),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}, "DPM2 a"),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}, "DPM++ 2M"),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "DPM++ 2M SDE"),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", {}, "DPM++ SDE"),
    "ddim": ("DDIMScheduler", {}, "DDIM"),
    "ddpm": ("DDPMScheduler", {}, "DDPM"),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}, "PLMS"),
    "unipc": ("UniPCMultistepScheduler", {}, "UniPC"),
    "lcm": ("LCMScheduler", {}, "LCM"),
}
_SCHEDULES: dict[str, tuple[dict[str, Any], str]] = {
    "karras": ({"use_karras_sigmas": True}, "Karras"),
    "trailing": ({"timestep_spacing": "trailing"}, "SGM Uniform"),
    "exponential": ({"use_exponential_sigmas": True}, "Exponential"),
    "beta": ({"use_beta_sigmas": True}, "Beta"),
}


def sampler(name: SchedulerName) -> Sampler:
    """What a scheduler name means in diffusers."""
    stem, _, suffix = name.rpartition("_")
    schedule = _SCHEDULES.get(suffix) if stem else None
    class_name, config, a1111 = _BASE[stem if schedule else name]
    if schedule is None:
        return Sampler(class_name, dict(config), a1111, "Automatic")
    return Sampler(class_name, config | schedule[0], a1111, schedule[1])


# Samplers of other tools that diffusers has no counterpart for, by their plain names.
UNAVAILABLE: dict[str, str] = {
    "dpmpp_2s_a": "DPM++ 2S a",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "restart": "Restart",
}
_PLAIN: dict[str, str] = {
    "plms": "pndm",
    "uni_pc": "unipc",
    "dpm_2": "dpm2",
    "dpm_2_a": "dpm2_a",
} | {class_name.removesuffix("Scheduler").casefold(): name for name, (class_name, _, _) in reversed(_BASE.items())}
_PLAIN_SCHEDULES = {"sgm_uniform": "trailing"} | {name: name for name in _SCHEDULES}


def plain_sampler_name(name: str) -> str:
    """A sampler's name as our table writes it, known there or not: `DPM++ 2M Karras` is `dpmpp_2m_karras`.

    Understands the names of A1111 (`Euler a`), DreamStudio (`K_EULER_ANCESTRAL`), ComfyUI (`euler_ancestral`,
    `uni_pc`) and diffusers' classes (`EulerDiscreteScheduler`).
    """
    plain = re.sub(r"[\s\-_]+", "_", name.strip().casefold().replace("++", "pp")).removeprefix("k_")
    plain = plain.removesuffix("scheduler")
    plain = plain if plain in _PLAIN else plain.replace("ancestral", "a")
    suffix = next((end for end in _PLAIN_SCHEDULES if plain.endswith(f"_{end}")), "")
    stem = plain.removesuffix(f"_{suffix}") if suffix else plain
    stem = _PLAIN.get(stem, stem)
    return f"{stem}_{_PLAIN_SCHEDULES[suffix]}" if suffix else stem


def scheduler_called(name: str) -> SchedulerName | None:
    """Our scheduler of that name in another tool, or None."""
    plain = plain_sampler_name(name[:80])
    return plain if plain in SCHEDULERS else None


def unavailable_sampler(name: str) -> str | None:
    """The sampler's usual name where it is one of another tool that diffusers has not; else None."""
    plain = plain_sampler_name(name[:80])
    suffix = next((f"_{end}" for end in _SCHEDULES if plain.endswith(f"_{end}")), "")
    return UNAVAILABLE.get(plain.removesuffix(suffix))
