"""Weighted and long prompts: what compel's own pipelines' helpers give, bit for bit, whatever the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from plain_diffusers import COMBINATIONS, MARKS, MakeSlots, plain_picture, with_scheduler
from test_exactness import own_arguments

from schemas.errors import RenderFailed
from services.prompts.a1111 import parse_a1111
from services.prompts.compel_syntax import MAX_NESTED, check_compel

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore:CLIPTextModel")]

Plain = Callable[[str, str], tuple[Any, Any]]
LONG = "a red square, left of it a blue circle. " * 3
CALL = {"num_inference_steps": 3, "guidance_scale": 5.0}


def by_compel(pipe: Any, prompt: str, negative: str) -> dict[str, Any]:
    """The embeddings of compel's documentation: `CompelForSD`, `CompelForSDXL`."""
    import compel

    xl = hasattr(pipe, "text_encoder_2")
    found = (compel.CompelForSDXL if xl else compel.CompelForSD)(pipe)(
        prompt, negative_prompt=negative or (None if xl else "")
    )
    states = {"prompt_embeds": found.embeds, "negative_prompt_embeds": found.negative_embeds}
    if xl:
        states |= {"pooled_prompt_embeds": found.pooled_embeds}
        states |= {"negative_pooled_prompt_embeds": found.negative_pooled_embeds}
    return {name: state for name, state in states.items() if state is not None}


@pytest.mark.parametrize(
    ("model", "pipeline"), [pair for pair in COMBINATIONS if pair[0] == "tiny" or pair == ("tiny-xl", "inpaint")]
)
def test_every_pipeline(room: Any, plain: Plain, slots: MakeSlots, model: str, pipeline: str) -> None:
    prompt, negative = "a (red)1.4 square++ left of a (blue)0.6 circle", "blurry--"
    strength = None if pipeline in ("txt2img", "upscale") else 0.7
    noise = {"noise_level": 30} if pipeline == "upscale" else {}
    mine = slots(
        pipeline, model=model, prompt=prompt, negative_prompt=negative, weighting="compel", strength=strength, **noise
    )
    (got,) = room.render(mine, lambda: None)
    pipe = with_scheduler(*plain(model, pipeline), None)
    states = by_compel(pipe, prompt, negative)
    expected = plain_picture(pipe, 11, **states, **CALL, **own_arguments(pipeline, 0.7))
    np.testing.assert_array_equal(got.pixels, expected)


@pytest.mark.parametrize(
    ("model", "prompt", "negative"),
    [
        ("tiny-2", LONG, ""),
        ("tiny-xl", LONG, ""),
        ("tiny", "a fox", LONG),
        ("tiny-xl", LONG, "(bad)1.2"),
        ("tiny", '("a fox", "a hen").blend(0.7, 0.3)', "bad"),
        ("tiny", '("a fox", "a hen").and(1, 0.5)', "bad"),
        ("tiny-xl", '("a fox", "a hen").and()', "bad"),
        ("tiny", "50% off {x} \\(a\\) ((b", "bad"),
        ("tiny-xl", "", ""),
    ],
    ids=lambda text: text[:20],
)
def test_long_prompts_blends_and_no_negative_one(
    room: Any, plain: Plain, slots: MakeSlots, model: str, prompt: str, negative: str
) -> None:
    mine = slots(model=model, prompt=prompt, negative_prompt=negative, weighting="compel")
    (got,) = room.render(mine, lambda: None)
    pipe = with_scheduler(*plain(model, "txt2img"), None)
    expected = plain_picture(pipe, 11, **by_compel(pipe, prompt, negative), **CALL, width=64, height=64)
    np.testing.assert_array_equal(got.pixels, expected)


@pytest.mark.parametrize("model", ["tiny"])
@pytest.mark.parametrize(
    ("a1111", "compel"),
    [
        ("a (red:1.3) fox", "a (red)1.3 fox"),
        ("a ((red)) [fox]", "a (red)1.2100000000000002 (fox)0.9090909090909091"),
        ("a fox BREAK a hen", '("a fox", "a hen").and()'),
        ("a \\(fox\\)", "a \\(fox\\)"),
        (LONG, LONG),
        ("(" + LONG + ":1.2)", "(" + LONG + ")1.2"),
    ],
    ids=lambda text: text[:20],
)
def test_a1111s_syntax_comes_to_compels(room: Any, slots: MakeSlots, model: str, a1111: str, compel: str) -> None:
    one, other = (
        room.render(slots(model=model, prompt=text, negative_prompt="bad", weighting=weighting), lambda: None)[0]
        for text, weighting in ((a1111, "a1111"), (compel, "compel"))
    )
    np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("clip_skip", [None, 0, 1])
@pytest.mark.parametrize(("model", "guidance_scale"), [("tiny", 1.0), ("tiny", 5.0), ("tiny-xl", 5.0)])
def test_a_short_prompt_without_weights_is_a_plain_one(
    room: Any, slots: MakeSlots, model: str, guidance_scale: float, clip_skip: int | None
) -> None:
    one, other = (
        room.render(
            slots(
                model=model,
                prompt="a red fox",
                negative_prompt="bad",
                guidance_scale=guidance_scale,
                clip_skip=clip_skip,
                weighting=weighting,
            ),
            lambda: None,
        )[0]
        for weighting in (None, "compel")
    )
    np.testing.assert_array_equal(one.pixels, other.pixels)


def test_rows_of_different_lengths_never_share_a_loop(room: Any, slots: MakeSlots) -> None:
    short, plain, long, weighted = (
        slots(prompt="a fox", weighting="compel")[0],
        slots(prompt="a fox")[0],
        slots(prompt=LONG, weighting="a1111")[0],
        slots(prompt="(a)1.2", negative_prompt=LONG, weighting="compel")[0],
    )
    assert room.apart([short, plain, long, weighted]) == [[short, plain], [long, weighted]]
    assert room.apart([plain, plain]) == [[plain, plain]]
    unguided = slots(prompt="a fox", negative_prompt=LONG, weighting="compel", guidance_scale=1.0)[0]
    assert room.apart([unguided, short]) == [[unguided, short]]


def test_mates_change_no_states(make_room: Callable[..., Any], slots: MakeSlots) -> None:
    room = make_room()
    rows = [slots(prompt=text, weighting="compel")[0] for text in ("a (red)0.5 fox", "a hen++", "a fox")]
    alone = [room.render([slot], lambda: None)[0].pixels.astype(int) for slot in rows]
    together = [found.pixels.astype(int) for found in room.render(rows, lambda: None)]
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1  # batches of another size differ in their last bits


def test_nothing_is_cut_off(room: Any, slots: MakeSlots) -> None:
    assert room.warnings(slots(prompt=LONG, weighting="compel")[0].row) == ()
    assert len(room.warnings(slots(prompt=LONG)[0].row)) == 1


@pytest.mark.parametrize(
    ("weighting", "prompt"),
    [
        ("compel", '("a", "b").blend(1)'),
        ("compel", '("a", "b").blend(1, 2) c'),
        ("compel", "a cat.swap(dog)"),
        ("compel", "(" * 40),
        ("a1111", "(a:99)"),
    ],
)
def test_a_prompt_that_is_none_fails_its_row(room: Any, slots: MakeSlots, weighting: str, prompt: str) -> None:
    with pytest.raises(RenderFailed, match="prompt"):
        room.render(slots(prompt=prompt, weighting=weighting), lambda: None)
    with pytest.raises(RenderFailed, match="prompt"):
        room.apart(slots(prompt=prompt, weighting=weighting))


def test_results_say_which_compel(room: Any, slots: MakeSlots) -> None:
    assert "compel" in room.info(slots(weighting="compel")[0].row).versions
    assert "compel" not in room.info(slots()[0].row).versions


WELL_FORMED = [
    "a (cat:1.3) b",
    "(cat)1.3 dog--",
    "a) b (c",
    '"a cat"++ b',
    '("a","b").blend(1,2, no_normalize)',
    '("a","b").blend()',
    '("a, (b)1.1", "c").and(1,.2)',
    "(a,b).blend(1,1)",
    '("a\\"b","c").blend(1 , 2)',
    "a (b, c).blend(1,1)",
    "().blend(1)",
    "(((((((((a",
    "(" * MAX_NESTED + "a",
    "(" * MAX_NESTED + "a" + ")1.1" * MAX_NESTED,
]
REFUSED = [
    '("a","b").blend(1)',
    '("a","b").blend(1,x)',
    '("a","b").blend(1,2) rest',
    '("a b", "c").and(s=1)',
    '("a.swap(b)", "c").blend(1,1)',
]


@pytest.mark.parametrize("prompt", WELL_FORMED + REFUSED, ids=lambda text: text[:20])
def test_what_compel_refuses_is_known_before(prompt: str) -> None:
    from compel.prompt_parser import PromptParser
    from pyparsing import ParseException

    from workers.engines.weighted_prompts import _parser

    known = any(remark.level == "fault" for remark in check_compel(prompt))
    assert known is (prompt in REFUSED)
    if prompt in REFUSED:
        with pytest.raises((ValueError, ParseException, PromptParser.ParsingException)):
            _parser().parse_conjunction(prompt)
    else:
        assert _parser().parse_conjunction(prompt) is not None


def test_both_encoders_of_xl_read_the_text_without_marks_for_the_pooled_state(room: Any, slots: MakeSlots) -> None:
    pixels = [
        room.render(slots(model="tiny-xl", prompt=text, weighting="a1111"), lambda: None)[0].pixels
        for text in ("a \\(red\\) fox", "a (red) fox")
    ]
    assert (pixels[0] != pixels[1]).any()
    assert parse_a1111("a ((red)) [fox]").text == "a red fox"
