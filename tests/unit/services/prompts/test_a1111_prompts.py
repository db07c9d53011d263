"""A1111's prompt syntax, by the rules of stable-diffusion-webui, and by whatever text people have."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.prompts.a1111 import parse_a1111
from services.prompts.lora_tags import take_tags
from services.prompts.weighted import MAX_DEPTH, MAX_PARTS

TEXT = st.text(alphabet="ab:|.5-()[]\\ <>\n,BREAKD", max_size=60) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        # The examples in the docstring of parse_prompt_attention, from A1111's documentation.
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                *(("a ", 1.0), ("house", 1.573), (" ", 1.1), ("on", 1.0), (" a ", 1.1), ("hill", 0.55)),
                *((", sun, ", 1.1), ("sky", 1.4641), (".", 1.1)),
            ],
        ),
        ("[less]", [("less", 1 / 1.1)]),
        ("(a (b:1.2) c:1.5)", [("a ", 1.5), ("b", 1.8), (" c", 1.5)]),
        ("(a: 1.2 )", [("a", 1.2)]),
        ("(a:-0.5)", [("a", -0.5)]),
        ("a) b]", [("a) b]", 1.0)]),
        ("time 12:30 | noon", [("time 12:30 | noon", 1.0)]),
        ("a:1.2)", [("a:1.2)", 1.0)]),
        ("[a:b]", [("a:b", 1 / 1.1)]),
        (r"a \ b", [("a  b", 1.0)]),
        ("", []),
    ],
)
def test_weights(prompt: str, parts: list[tuple[str, float]]) -> None:
    (segment,) = parse_a1111(prompt).segments
    assert [part.text for part in segment] == [text for text, _ in parts]
    assert [part.weight for part in segment] == pytest.approx([weight for _, weight in parts])
    assert parse_a1111(prompt).remarks == ()


def test_break_begins_another_segment() -> None:
    found = parse_a1111("a BREAK (b BREAK c:1.2) BREAKER \\(BREAK\\)")
    assert [[part.text for part in segment] for segment in found.segments] == [
        ["a "],
        [" ", "b "],
        [" c", " BREAKER ("],
        [")"],
    ]


@pytest.mark.parametrize(
    ("prompt", "text", "told"),
    [
        ("a [cat:dog:0.5] here", "a dog here", "prompt editing"),
        ("a [dog:10] here", "a dog here", "prompt editing"),
        ("a [cat::5] here", "a  here", "prompt editing"),
        ("a [cat|dog|cow] here", "a cat here", "alternation"),
        ("a [(cat:1.2)|dog]", "a cat", "alternation"),
        ("a cat AND a dog", "a cat AND a dog", "AND joins"),
        ("(a:1.2.3)", "a:1.2.3)", "'1.2.3' is no weight"),
    ],
)
def test_what_cannot_be_expressed_is_told_once_and_read_all_the_same(prompt: str, text: str, told: str) -> None:
    found = parse_a1111(f"{prompt}, {prompt}")
    assert found.text == f"{text}, {text}"
    (remark,) = found.remarks
    assert remark.level == "warning"
    assert remark.message.startswith(told)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("(a:11)", "weight 11: from -10 to 10"),
        ("(" * (MAX_DEPTH + 1), "nested more than 32 deep"),
        ("(a)b" * MAX_PARTS, "more than 300 parts"),
    ],
)
def test_what_must_not_be_rendered_is_a_fault(prompt: str, told: str) -> None:
    assert [told in remark.message for remark in parse_a1111(prompt).remarks if remark.level == "fault"] == [True]


@given(TEXT)
@example("[a|(b]c)")
@example("([a:b:0.5)]")
def test_any_text_is_read(prompt: str) -> None:
    found = parse_a1111(prompt)
    written = set(prompt)
    assert set(found.text) <= written | {" "}
    assert all(part.text for segment in found.segments for part in segment)


@given(st.text(alphabet="abc 水é,.!?'\"-", max_size=80))
def test_text_without_marks_is_one_plain_part(prompt: str) -> None:
    (segment,) = parse_a1111(prompt).segments
    assert "".join(part.text for part in segment) == prompt
    assert {part.weight for part in segment} <= {1.0}


@pytest.mark.parametrize(
    "unit", ["(", "[", "(a", "[a|", "([a:b:0.5])", "\\", ":1", " ", "(a)", "<lora:", "BREAK ", "a:"]
)
def test_long_prompts_take_no_time(unit: str) -> None:
    prompt = unit * (20_000 // len(unit))
    started = time.process_time()
    parse_a1111(prompt)
    take_tags(prompt)
    assert time.process_time() - started < 5


class TestLoraTags:
    def test_they_leave_the_prompt(self) -> None:
        text, loras, remarks = take_tags("a cat <lora:detail:0.8>, <lora:other> at night")
        assert (text, [str(use) for use in loras], remarks) == ("a cat ,  at night", ["detail:0.8", "other:1"], ())

    @pytest.mark.parametrize("prompt", ["a < b > c", "<b>bold</b>", "no tag", " blank "])
    def test_a_prompt_without_them_stays_as_it_is(self, prompt: str) -> None:
        assert take_tags(prompt) == (prompt, (), ())

    @pytest.mark.parametrize(
        ("tag", "level", "told"),
        [
            ("<hypernet:x:1>", "warning", "<hypernet:...> is left out"),
            ("<lora:x:1:0.5>", "warning", "the first counts"),
            ("<lora:x:1><lora:x:2>", "warning", "the last counts"),
            ("<lora:a b:1>", "fault", "is not <lora:NAME:WEIGHT>"),
            ("<lora:x:much>", "fault", "is not <lora:NAME:WEIGHT>"),
            ("<lora:x:99>", "fault", "weight from -10 to 10"),
        ],
    )
    def test_what_is_told(self, tag: str, level: str, told: str) -> None:
        text, _, (remark,) = take_tags(f"a {tag}")
        assert (text, remark.level) == ("a", level)
        assert told in remark.message

    @given(TEXT)
    def test_any_text_is_read(self, prompt: str) -> None:
        text, _, _ = take_tags(prompt)
        assert len(text) <= len(prompt)
