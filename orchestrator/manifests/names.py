"""Other names: which field of ours a column of another tool gives, and which one a misspelt name probably means."""

import difflib
import re

from schemas.rows import FIELD_NAMES
from schemas.samplers import SCHEDULERS, plain_sampler_name

# The fields that a column can be; `extra` collects those that are none.
COLUMN_FIELDS: frozenset[str] = FIELD_NAMES - {"extra"}

# What other tools call our fields: A1111's prompts file and infotext, DreamStudio's and Replicate's parameters,
# diffusers' arguments.
SYNONYMS: dict[str, str] = {
    "cfg": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "guidance": "guidance_scale",
    "sampler": "scheduler",
    "sampler_name": "scheduler",
    "n_iter": "num_images",
    "batch_size": "num_images",
    "num_outputs": "num_images",
    "samples": "num_images",
    "n_samples": "num_images",
    "num_images_per_prompt": "num_images",
    "number_of_images": "num_images",
    "negative": "negative_prompt",
    "neg_prompt": "negative_prompt",
    "init_image": "image",
    "init_images": "image",
    "init_img": "image",
    "input_image": "image",
    "initial_image": "image",
    "mask_image": "mask",
    "denoising_strength": "strength",
    "num_inference_steps": "steps",
    "sd_model": "model",
    "sd_model_checkpoint": "model",
    "model_name": "model",
    "checkpoint": "model",
    "output_format": "format",
}
# Other tools' fields that mean a little more than one of ours; `orchestrator.manifests.foreign` translates them.
INITIAL_IMAGE = "init_image"  # without a pipeline it asks for img2img
ITERATIONS = "n_iter"  # both together multiply
BATCH_SIZE = "batch_size"
FOREIGN: dict[str, str] = {INITIAL_IMAGE: "image", ITERATIONS: "num_images", BATCH_SIZE: "num_images"}
# No field of a row, but how its prompt is to be read.
TEMPLATE = "template"
_FOREIGN_NAMES = {"init_image", "init_img", "initial_image", "init_images"}
_KNOWN: dict[str, str] = {name: name for name in COLUMN_FIELDS} | SYNONYMS
_SHORTEST = 4
_LONG = 8
# Two slips away from a word that people have as a column: `lighting`.
_ONE_SLIP = frozenset({"weighting"})


def field_called(name: str) -> str | None:
    """The field that a column name gives: ours, ours but for case, spaces and dashes, or another tool's name for it.

    Names in `FOREIGN` and `template` stand for themselves. None: no such name.
    """
    if name in COLUMN_FIELDS or name == TEMPLATE:
        return name
    plain = _plain(name)
    if plain in _FOREIGN_NAMES:
        return INITIAL_IMAGE
    return plain if plain in FOREIGN else _KNOWN.get(plain)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-_]+", "_", name[:200].strip().casefold())


def near_field(name: str) -> str | None:
    """The field that a column name nearly is, or None where it is a column of the user's own.

    Equal but for case, spaces and dashes; another tool's name; or one slip away (two in names of eight letters
    or more). A slip in the first letter counts only where a letter is left out or doubled: `weight` is no `height`.
    """
    plain = _plain(name)
    if plain in _KNOWN:
        return _KNOWN[plain]
    if len(plain) < _SHORTEST:
        return None
    best: tuple[int, str] | None = None
    for known, field in sorted(_KNOWN.items()):
        distance = _slips(plain, known)
        if distance is not None and (best is None or distance < best[0]):
            best = (distance, field)
    return best[1] if best else None


def _slips(name: str, known: str) -> int | None:
    most = 2 if len(known) >= _LONG and known not in _ONE_SLIP else 1
    if len(known) < _SHORTEST or abs(len(name) - len(known)) > most:
        return None
    same_length_other_start = len(name) == len(known) and name[0] != known[0] and name[:2] != known[1::-1]
    if same_length_other_start:
        return None
    distance = edit_distance(name, known)
    return distance if distance <= most else None


def edit_distance(left: str, right: str) -> int:
    """Fewest letters put in, left out, replaced or swapped with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, above, row = row, before, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == left[i - 2]:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return row[-1]


def near_scheduler(name: str) -> str | None:
    """The scheduler that a name of another tool (`DPM++ 2M Karras`, `k_euler`) or a misspelt one nearly is."""
    return near_name(plain_sampler_name(name[:80]), SCHEDULERS)


def near_name(name: str, known: tuple[str, ...] | list[str]) -> str | None:
    """The nearest of a few known names, or None."""
    found = difflib.get_close_matches(name[:200], known, n=1, cutoff=0.6)
    return found[0] if found else None
