"""The judge is judged: true pictures pass, pictures under other captions do not."""

import itertools

import numpy as np
import pytest

from models.training import draw, judge, scenes, verdict


@pytest.fixture(scope="module")
def trial() -> tuple[list[scenes.Scene], list[np.ndarray]]:
    chosen = list(itertools.islice(scenes.stream(77, training=False), 60))
    return chosen, [draw.draw(s, 64) for s in chosen]


@pytest.mark.parametrize("figure", verdict.FIGURES)
def test_true_scenes_pass(trial: tuple[list[scenes.Scene], list[np.ndarray]], figure: str) -> None:
    assert verdict.judge_all(*trial).share(figure) >= 0.99


def test_swapped_captions_are_at_chance(trial: tuple[list[scenes.Scene], list[np.ndarray]]) -> None:
    chosen, pictures = trial
    tally = verdict.judge_all(chosen, pictures[1:] + pictures[:1])
    assert tally.share("background") < 0.25
    assert tally.share("colour") < 0.3
    assert tally.share("shape") < 0.4
    assert tally.share("place") < 0.25


@pytest.mark.parametrize("style", scenes.STYLES)
def test_an_empty_background_has_no_blobs(style: str) -> None:
    for colour, rgb in scenes.PALETTE.items():
        seen = judge.look(draw.draw(scenes.Scene("single", colour, rgb, style, ()), 64))
        assert seen == judge.Seen(colour, ())


def test_noise_wins_nothing(trial: tuple[list[scenes.Scene], list[np.ndarray]]) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(10)]
    tally = verdict.judge_all(trial[0][:10], noise)
    assert tally.share("shape") < 0.3


def test_a_larger_picture_is_seen_the_same() -> None:
    scene = next(scenes.stream(5, training=True, kind="pair"))
    tally = verdict.judge_all([scene], [draw.draw(scene, 256, 2)])
    assert tally.score() == 1.0


@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_each_shape_is_told_apart(shape: str) -> None:
    thing = scenes.Thing(shape, "red", scenes.PALETTE["red"], 0.45, 0.55, 0.2, 0.5)
    seen = judge.look(draw.draw(scenes.Scene("single", "blue", scenes.PALETTE["blue"], "plain", (thing,)), 64))
    assert [(b.colour, b.shape) for b in seen.blobs] == [("red", shape)]
    assert abs(seen.blobs[0].x - 0.45) < 0.02
    assert abs(seen.blobs[0].y - 0.55) < 0.02
