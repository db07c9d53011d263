"""Scheduler names against the field's own table (A1111 name -> diffusers class and configuration)."""

import pytest

from schemas.samplers import SCHEDULERS, SchedulerName, sampler, scheduler_called, unavailable_sampler

# From diffusers' documentation, "Schedulers": A1111 and k-diffusion names, their diffusers class and configuration.
TABLE = {
    "lms": ("LMS", "LMSDiscreteScheduler", {}),
    "lms_karras": ("LMS", "LMSDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler": ("Euler", "EulerDiscreteScheduler", {}),
    "euler_a": ("Euler a", "EulerAncestralDiscreteScheduler", {}),
    "heun": ("Heun", "HeunDiscreteScheduler", {}),
    "dpm2": ("DPM2", "KDPM2DiscreteScheduler", {}),
    "dpm2_karras": ("DPM2", "KDPM2DiscreteScheduler", {"use_karras_sigmas": True}),
    "dpm2_a": ("DPM2 a", "KDPM2AncestralDiscreteScheduler", {}),
    "dpm2_a_karras": ("DPM2 a", "KDPM2AncestralDiscreteScheduler", {"use_karras_sigmas": True}),
    "dpmpp_2m": ("DPM++ 2M", "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpmpp_2m_karras": (
        "DPM++ 2M",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
    ),
    "dpmpp_2m_sde": ("DPM++ 2M SDE", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2m_sde_karras": (
        "DPM++ 2M SDE",
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    "dpmpp_sde": ("DPM++ SDE", "DPMSolverSinglestepScheduler", {}),
    "dpmpp_sde_karras": ("DPM++ SDE", "DPMSolverSinglestepScheduler", {"use_karras_sigmas": True}),
    "ddim": ("DDIM", "DDIMScheduler", {}),
    "ddpm": ("DDPM", "DDPMScheduler", {}),
    "unipc": ("UniPC", "UniPCMultistepScheduler", {}),
    "lcm": ("LCM", "LCMScheduler", {}),
    "euler_trailing": ("Euler", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "euler_exponential": ("Euler", "EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
    "euler_beta": ("Euler", "EulerDiscreteScheduler", {"use_beta_sigmas": True}),
}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_name_means_what_the_field_means_by_it(name: SchedulerName) -> None:
    found = sampler(name)
    assert (found.a1111, found.class_name, found.config) == TABLE[name]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_name_means_something_of_its_own(name: SchedulerName) -> None:
    found = sampler(name)
    same = [other for other in SCHEDULERS if sampler(other)[:2] == found[:2]]
    assert same == [name]


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("euler", "Automatic"),
        ("dpmpp_2m_sde", "Automatic"),
        ("dpm2_a", "Automatic"),
        ("dpm2_a_karras", "Karras"),
        ("ddim_trailing", "SGM Uniform"),
        ("dpmpp_2m_exponential", "Exponential"),
        ("dpmpp_2m_beta", "Beta"),
    ],
)
def test_infotext_tells_the_schedule_apart(name: SchedulerName, schedule: str) -> None:
    assert sampler(name).schedule_type == schedule


def test_a_callers_change_of_a_configuration_stays_with_the_caller() -> None:
    sampler("dpmpp_2m").config["algorithm_type"] = "changed"
    sampler("euler").config["new"] = 1
    assert sampler("dpmpp_2m").config == {"algorithm_type": "dpmsolver++"}
    assert sampler("euler").config == {}


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("Euler a", "euler_a"),
        ("Euler", "euler"),
        ("LMS Karras", "lms_karras"),
        ("DPM2 a Karras", "dpm2_a_karras"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("DPM++ 2M SDE Karras", "dpmpp_2m_sde_karras"),
        ("DPM++ 2M SDE", "dpmpp_2m_sde"),
        ("DPM++ SDE", "dpmpp_sde"),
        ("PLMS", "pndm"),
        ("UniPC", "unipc"),
        ("Euler SGM Uniform", "euler_trailing"),
        ("DPM++ 2M Exponential", "dpmpp_2m_exponential"),
        ("k_lms", "lms"),
        ("K_DPM_2_ANCESTRAL", "dpm2_a"),
        ("K_DPMPP_2M", "dpmpp_2m"),
        ("K_EULER_ANCESTRAL", "euler_a"),
        ("DDIM", "ddim"),
        ("uni_pc", "unipc"),
        ("dpmpp_2m_sde", "dpmpp_2m_sde"),
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("DPMSolverMultistep", "dpmpp_2m"),
        ("Euler b", None),
        ("", None),
    ],
)
def test_a_sampler_is_found_by_the_names_of_other_tools(name: str, scheduler: SchedulerName | None) -> None:
    assert scheduler_called(name) == scheduler
    assert unavailable_sampler(name) is None


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_is_found_by_a1111s_name_for_it(name: SchedulerName) -> None:
    found = sampler(name)
    schedule = "" if found.schedule_type == "Automatic" else f" {found.schedule_type}"
    assert scheduler_called(found.a1111 + schedule) == name
    assert scheduler_called(name) == name


@pytest.mark.parametrize(
    "name", ["DPM++ 2S a", "DPM++ 2S a Karras", "K_DPMPP_2S_ANCESTRAL", "DPM fast", "DPM adaptive"]
)
def test_samplers_that_diffusers_has_not_are_known_as_such(name: str) -> None:
    assert scheduler_called(name) is None
    assert unavailable_sampler(name) in {"DPM++ 2S a", "DPM fast", "DPM adaptive"}
