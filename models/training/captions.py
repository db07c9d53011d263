"""Scenes in words, in several phrasings, and wrong captions that differ in one fact.

Every phrase is lower case: CLIP's tokenizer lowers case, so a user's capitals do not matter.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.training.scenes import COLOURS, RELATIONS, SHAPES, STYLES, ZONES, Scene, Thing

NUMBERS = {2: "two", 3: "three", 4: "four"}
PREFIXES = ("", "", "", "", "a picture of ", "a drawing of ", "an image of ", "a photo of ", "there is ")
SUFFIXES = ("", "", "", "", "", ", flat design", ", high quality", ", simple", ", highly detailed")
ZONE_WORDS: dict[str, tuple[str, ...]] = {
    "center": ("in the center", "in the middle"),
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "top left": ("in the top left corner", "at the top left"),
    "top right": ("in the top right corner", "at the top right"),
    "bottom left": ("in the bottom left corner", "at the bottom left"),
    "bottom right": ("in the bottom right corner", "at the bottom right"),
}
RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
# Words that captions never use but prompts may; they keep the models calm about unknown words.
OTHER_WORDS: tuple[str, ...] = (
    *("nice", "beautiful", "cute", "modern", "art", "style", "minimal", "poster", "icon", "vector", "soft"),
    *("bright", "clean", "sharp", "best", "quality", "4k", "illustration", "with", "and", "the", "colored"),
    *("colour", "color", "shape", "shapes", "object", "objects", "some", "very", "one"),
)


def _choose(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def _article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def _noun(rng: np.random.Generator, thing: Thing, size: str | None = None) -> str:
    words = f"{thing.colour} {thing.shape}"
    return f"{_choose(rng, SIZE_WORDS[size])} {words}" if size else words


def _ground(rng: np.random.Generator, scene: Scene) -> str:
    if scene.style == "gradient":
        return _choose(rng, (f"{scene.background} gradient background", f"fading {scene.background} background"))
    if scene.style == "striped":
        return _choose(rng, (f"striped {scene.background} background", f"{scene.background} striped background"))
    return _choose(rng, (f"{scene.background} background",) * 3 + (f"plain {scene.background} background",))


def _plural(shape: str) -> str:
    return shape + ("es" if shape == "cross" else "s")


def subject_phrase(rng: np.random.Generator, scene: Scene) -> str:
    """What is in front of the background: "a red star above a blue ring"."""
    if scene.kind == "count":
        thing = scene.things[0]
        return f"{NUMBERS[len(scene.things)]} {thing.colour} {_plural(thing.shape)}"
    if scene.relation is None:
        phrase = _article(_noun(rng, scene.things[0], scene.size))
        return f"{phrase} {_choose(rng, ZONE_WORDS[scene.zone])}" if scene.zone else phrase
    first = scene.things[scene.subject]
    second = scene.things[1 - scene.subject]
    relation = scene.relation
    if relation in OPPOSITE and rng.random() < 0.3:
        first, second, relation = second, first, OPPOSITE[relation]
    words = _choose(rng, RELATION_WORDS[relation])
    return f"{_article(_noun(rng, first))} {words} {_article(_noun(rng, second))}"


def caption(rng: np.random.Generator, scene: Scene, *, plain: bool = False) -> str:
    """One true caption; `plain` leaves out the decorations (prefix, suffix)."""
    subject = subject_phrase(rng, scene)
    ground = _ground(rng, scene)
    form = rng.random()
    if form < 0.62:
        words = f"{subject} on {_article(ground)}"
    elif form < 0.76:
        words = f"{subject}, {ground}"
    elif form < 0.88:
        words = f"{_article(ground)} with {subject}"
    else:
        words = f"on {_article(ground)}, {subject}"
    if plain:
        return words
    prefix = _choose(rng, PREFIXES) if form < 0.76 else ""
    return prefix + words + _choose(rng, SUFFIXES)


def with_strangers(rng: np.random.Generator, words: str) -> str:
    """The caption with a word or two that mean nothing here, before or after it."""
    extra = []
    for _ in range(int(rng.integers(1, 3))):
        if rng.random() < 0.6:
            extra.append(OTHER_WORDS[int(rng.integers(len(OTHER_WORDS)))])
        else:
            letters = rng.integers(97, 123, int(rng.integers(2, 8)))
            extra.append("".join(chr(c) for c in letters))
    joined = " ".join(extra)
    return f"{joined} {words}" if rng.random() < 0.4 else f"{words}, {joined}"


def _other(rng: np.random.Generator, words: tuple[str, ...], *but: str | None) -> str:
    return _choose(rng, tuple(w for w in words if w not in but))


def _swap_looks(scene: Scene, what: str) -> Scene:
    a, b = scene.things[:2]
    if what == "colour":
        a, b = replace(a, colour=b.colour), replace(b, colour=a.colour)
    else:
        a, b = replace(a, shape=b.shape), replace(b, shape=a.shape)
    return replace(scene, things=(a, b))


def wrong(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with one fact changed: for captions that are nearly right."""
    used = [scene.background, *(t.colour for t in scene.things)]
    which = int(rng.integers(len(scene.things)))
    choices = ["colour", "shape", "background", "style"]
    if scene.zone:
        choices += ["zone", "zone"]
    if scene.relation and scene.relation not in OPPOSITE:
        choices += ["depth"]
    if scene.relation in OPPOSITE:
        choices += ["relation", "relation"]
    if len(scene.things) == 2 and scene.kind != "count":
        choices += ["swap colour"]
        if scene.things[0].shape != scene.things[1].shape:
            choices += ["swap shape"]
    what = _choose(rng, tuple(choices))
    things = list(scene.things)
    if what == "colour":
        colour = _other(rng, COLOURS, *used)
        things = [replace(t, colour=colour) if scene.kind == "count" or i == which else t
                  for i, t in enumerate(things)]  # fmt: skip
    elif what == "shape":
        shape = _other(rng, SHAPES, things[which].shape)
        things = [replace(t, shape=shape) if scene.kind == "count" or i == which else t
                  for i, t in enumerate(things)]  # fmt: skip
    elif what.startswith("swap"):
        return _swap_looks(scene, what.split()[1])
    elif what == "background":
        return replace(scene, background=_other(rng, COLOURS, *used))
    elif what == "style":
        return replace(scene, style=_other(rng, STYLES, scene.style))
    elif what == "zone":
        return replace(scene, zone=_other(rng, tuple(ZONES), scene.zone))
    elif what == "relation":
        return replace(scene, relation=_other(rng, RELATIONS, scene.relation))
    elif what == "depth":
        return replace(scene, subject=1 - scene.subject)
    return replace(scene, things=tuple(things))
