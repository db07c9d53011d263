"""What is known of a prompt in compel's syntax without compel; `test_weighting` compares it with compel itself."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.prompts.compel_syntax import MAX_NESTED, check_compel


@pytest.mark.parametrize(
    "prompt",
    ["a cat++", "(a cat)1.3", "((a)1.1 b)0.9", '("a", "b").blend(1, 2)', "\\(a\\)", '("a").blend()', "-a- 50%", ""],
)
def test_a_sound_prompt_is_passed_over(prompt: str) -> None:
    assert check_compel(prompt) == ()


@pytest.mark.parametrize(
    ("prompt", "level", "told"),
    [
        ("(" * (MAX_NESTED + 1), "fault", "nested more than 12 deep"),
        ("a.swap(b)", "fault", ".swap()"),
        ("withLora(x, 1) a", "fault", "LoRAs are named in the field loras"),
        ("(a)99", "fault", "weight 99: from -10 to 10"),
        ('("a", "b").blend(1, 99)', "fault", "weight 99: from -10 to 10"),
        ('("a", "b").blend(1)', "fault", "has 1 weights for 2 prompts"),
        ('("a", "b").and(1, x)', "fault", "'x' is no number"),
        ('("a", "b").blend(1, 1) c', "fault", "nothing can stand behind .blend(...)"),
        ("(a b, c).blend(1, 1)", "warning", "takes prompts in quotes or single words"),
        ('a ("b", "c").blend(1, 1)', "warning", "count only for a whole prompt"),
        ("(a", "warning", "parentheses that are not in pairs"),
        ("(a:1.2)", "warning", "(word:1.3) is text to compel"),
        ("a <lora:x:1>", "warning", "<lora:...> is text to compel"),
    ],
)
def test_what_is_told(prompt: str, level: str, told: str) -> None:
    (remark,) = check_compel(prompt)
    assert remark.level == level
    assert told in remark.message


@given(st.text(alphabet='ab(),."\\+-1:<> blend', max_size=80) | st.text(max_size=40))
def test_any_text_is_read(prompt: str) -> None:
    assert all(remark.kind for remark in check_compel(prompt))


@pytest.mark.parametrize("unit", ["(", '("', "\\", '"', "(a:", ")1", ").blend(", '("a",', "(a)", "<lora:"])
def test_long_prompts_take_no_time(unit: str) -> None:
    started = time.process_time()
    check_compel(unit * (20_000 // len(unit)))
    check_compel("(" + '"a",' * 5_000 + ").blend(1)")
    assert time.process_time() - started < 5
