"""Scenes and captions: seeded, true, and without what is held out."""

import itertools

import numpy as np
import pytest

from models.training import captions, draw, scenes


def _some(count: int, *, training: bool = True, seed: int = 3) -> list[scenes.Scene]:
    return list(itertools.islice(scenes.stream(seed, training=training), count))


def test_the_same_seed_gives_the_same_scenes_and_pictures() -> None:
    first, second = _some(20), _some(20)
    assert first == second
    assert all((draw.draw(a, 64) == draw.draw(b, 64)).all() for a, b in zip(first, second, strict=True))


def test_training_never_shows_a_held_out_combination() -> None:
    assert not any(scenes.is_held_out(s) for s in _some(500))
    assert all(scenes.is_held_out(s) for s in _some(50, training=False))


def test_every_colour_and_shape_is_seen_in_training() -> None:
    things = [t for s in _some(600) for t in s.things]
    assert {t.colour for t in things} == set(scenes.COLOURS)
    assert {t.shape for t in things} == set(scenes.SHAPES)


def test_things_stay_inside_and_differ_from_the_background() -> None:
    for scene in _some(300):
        for thing in scene.things:
            assert thing.radius <= thing.x <= 1 - thing.radius
            assert thing.radius <= thing.y <= 1 - thing.radius
            assert thing.colour != scene.background


def test_captions_name_what_is_there() -> None:
    rng = np.random.default_rng(0)
    for scene in _some(200):
        words = captions.caption(rng, scene)
        assert scene.background in words
        assert all(t.colour in words and t.shape in words for t in scene.things)


def test_a_scene_has_several_phrasings() -> None:
    rng = np.random.default_rng(0)
    scene = _some(1)[0]
    assert len({captions.caption(rng, scene) for _ in range(40)}) > 10


def test_a_wrong_scene_differs_in_what_its_caption_says() -> None:
    for scene in _some(300):
        other = captions.wrong(np.random.default_rng(5), scene)
        words = captions.caption(np.random.default_rng(9), scene, plain=True)
        assert other != scene
        assert captions.caption(np.random.default_rng(9), other, plain=True) != words


@pytest.mark.parametrize("size", [64, 256])
def test_pictures_and_depth_have_the_asked_size(size: int) -> None:
    scene = _some(1)[0]
    assert draw.draw(scene, size).shape == (size, size, 3)
    near = draw.nearness(scene, size)
    assert near.shape == (size, size)
    assert 0 <= near.min() < near.max() <= 1


def test_the_front_thing_is_nearer() -> None:
    scene = next(scenes.stream(4, training=True, kind="overlap"))
    back, front = scene.things
    assert front.nearness > back.nearness
