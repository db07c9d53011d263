"""A sampler of another tool is the same one here, or none: one that is only like it is a guess."""

import pytest

from orchestrator.importing.samplers import scheduler_named
from schemas.samplers import SCHEDULERS, SchedulerName, sampler


@pytest.mark.parametrize("name", SCHEDULERS)
def test_our_own_names_and_a1111s_two_read_back(name: SchedulerName) -> None:
    told = sampler(name)
    assert scheduler_named(name) == name
    assert scheduler_named(told.a1111, told.schedule_type) == name


@pytest.mark.parametrize(
    ("name", "schedule", "ours"),
    [
        ("DPM++ 2M Karras", "", "dpmpp_2m_karras"),
        ("DPM++ 2M Karras", "Karras", "dpmpp_2m_karras"),
        ("k_lms", "", "lms"),
        ("k_euler_ancestral", "", "euler_a"),
        ("dpmpp_2m_sde_gpu", "karras", "dpmpp_2m_sde_karras"),
        ("dpmpp_sde_k", "", "dpmpp_sde_karras"),
        ("kdpm_2_a", "", "dpm2_a"),
        ("uni_pc", "normal", "unipc"),
        ("plms", "", "pndm"),
        ("DPM++ 2M", "Uniform", "dpmpp_2m"),
        ("DPM++ 2S a", "Karras", None),
        ("DPM fast", "", None),
        ("uni_pc_bh2", "", None),
        ("euler", "simple", None),
        ("lcm", "karras", None),
        ("", "", None),
    ],
)
def test_another_tools_name_is_the_same_sampler_or_none(name: str, schedule: str, ours: str | None) -> None:
    assert scheduler_named(name, schedule) == ours
