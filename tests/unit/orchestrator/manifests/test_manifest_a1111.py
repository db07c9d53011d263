"""A1111's prompts-from-file: its grammar, and what becomes of each of its keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_files import Reader, read_bytes

from orchestrator.manifests.a1111 import IGNORED, KEYS, REFUSED, SWITCHES, USED

# The keys of `prompt_tags` in stable-diffusion-webui's scripts/prompts_from_file.py.
A1111_KEYS = [
    "sd_model",
    "outpath_samples",
    "outpath_grids",
    "prompt_for_display",
    "prompt",
    "negative_prompt",
    "styles",
    "seed",
    "subseed_strength",
    "subseed",
    "seed_resize_from_h",
    "seed_resize_from_w",
    "sampler_index",
    "sampler_name",
    "batch_size",
    "n_iter",
    "steps",
    "cfg_scale",
    "width",
    "height",
    "restore_faces",
    "tiling",
    "do_not_save_samples",
    "do_not_save_grid",
]


def test_every_key_is_used_refused_or_ignored() -> None:
    assert sorted(KEYS) == sorted(A1111_KEYS)
    assert len(KEYS) == len(USED) + len(IGNORED) + len(REFUSED) + len(SWITCHES)


def test_a_line_without_dashes_is_a_prompt_and_any_other_is_split_as_a_shell_would(manifest: Reader) -> None:
    content = (
        "  a fox, 50% off $5 #1 {best} it's \n"
        "\n"
        '--prompt a fox   in "the  snow" --negative_prompt blurry, dark --steps 3 --cfg_scale 7.5\n'
        '--prompt "it\'s a -- fox" --seed -1 --sampler_name "DPM++ 2M Karras" --width 512 --height 64\n'
        "--n_iter 2 --batch_size 3 --prompt a --sd_model 'tiny.safetensors [6ce0161689]'\n"
        "--prompt a --n_iter 2 \r\n"
    )
    found = manifest("a.txt", content, format="a1111", defaults={"model": "sd15"})
    assert not found.texts
    rows = [authored.row for authored in found.rows]
    assert found.lines == [1, 3, 4, 5, 6]
    assert rows[0].prompt == "a fox, 50% off $5 #1 {best} it's"
    assert (rows[1].prompt, rows[1].negative_prompt) == ("a fox in the  snow", "blurry, dark")
    assert (rows[1].steps, rows[1].guidance_scale) == (3, 7.5)
    assert (rows[2].prompt, rows[2].seed, rows[2].scheduler) == ("it's a -- fox", None, "dpmpp_2m_karras")
    assert (rows[3].num_images, rows[3].model, rows[4].num_images) == (6, "tiny", 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--prompt a fox's tail", "a quote or an apostrophe is never closed"),
        ("--prompt a \\", "it ends with a backslash"),
        ("a fox -- in the snow", "a line with -- in it begins with a key such as --prompt; a prompt with -- in it is"),
        ("--prompt", "--prompt has no value"),
        ("--prompt --steps 3", "--prompt has no value"),
        ("--steps --prompt a", "--steps has no value"),
        ("--prompt a --steps", "--steps has no value"),
        ("--prompt a --steps 3 4", "--steps takes one value, and 4 follows it: quote values with blanks"),
        ("--prompt a --steps 3 --steps 4", "--steps stands twice"),
        ("--prompt a --step 3", "--step is no key of A1111's prompts file: did you mean --steps?"),
        ("--prompt a --zzzz 3", "--zzzz is no key of A1111's prompts file: its keys are batch_size, cfg_scale"),
        ("-- a", "-- is no key of A1111's prompts file"),
        ("--styles anime --prompt a", "--styles = anime: A1111 keeps styles in a file of its own"),
        ("--sampler_index 3 --prompt a", "--sampler_index = 3: a number in A1111's own list"),
        ("--subseed 3 --prompt a", "--subseed = 3: variation seeds have no counterpart"),
        ("--subseed_strength 0.3 --prompt a", "variation seeds have no counterpart"),
        ("--seed_resize_from_h 64 --prompt a", "it has no counterpart: leave it out"),
        ("--restore_faces true --prompt a", "it has no counterpart: leave it out"),
        ("--tiling true --prompt a", "it has no counterpart: leave it out"),
        ("--prompt a --sampler_name 'DPM fast'", "DPM fast has no counterpart in diffusers"),
        ("--prompt a --steps x", "steps = x: expected a whole number"),
        ("--steps 3", "--prompt: txt2img needs a prompt: give it as --prompt"),
        ("--tiling True --prompt a", "--tiling = True: it has no counterpart: leave it out"),
        (
            "--prompt a --n_iter 50 --batch_size 5",
            "--n_iter x --batch_size = 50 x 5: expected a whole number from 1 to",
        ),
        ("--prompt a --batch_size 0", "line 2, --batch_size = 0: expected a whole number from 1 to 100"),
        ("--prompt a --cfg_scale x", "line 2, --cfg_scale = x: expected a number from 0 to 100"),
    ],
)
def test_what_cannot_be_used_is_a_fault_never_a_prompt(manifest: Reader, line: str, message: str) -> None:
    found = manifest("a.txt", f"fine\n{line}\nfine\n", format="a1111")
    assert found.prompts == ["fine", "fine"]
    assert found.faults.total == 1
    assert found.texts[0].startswith("line 2")
    assert message in found.texts[0]


def test_keys_that_change_no_picture_are_warnings_and_counted(manifest: Reader) -> None:
    line = "--prompt a --outpath_samples /x --do_not_save_grid true\n"
    found = manifest("a.txt", line * 300, format="a1111")
    assert not found.texts
    assert len(found.rows) == 300
    counts = {(group.field, group.count) for group in found.faults.warnings.groups()}
    assert counts == {("--outpath_samples", 300), ("--do_not_save_grid", 300)}


def test_values_that_change_nothing_are_taken(manifest: Reader) -> None:
    line = "--prompt a --subseed -1 --subseed_strength 0 --seed_resize_from_w -1 --restore_faces False --tiling no\n"
    found = manifest("a.txt", line, format="a1111")
    assert (found.texts, found.faults.warnings.total, found.prompts) == ([], 0, ["a"])


def test_such_a_file_read_as_plain_text_is_a_fault_and_standard_input_is_told_by_its_first_line(
    manifest: Reader,
) -> None:
    found = manifest("a.txt", "fine\n--prompt a --steps 3\n-- a dash\n")
    assert found.texts == ["line 2 = --prompt a --steps 3: a line of A1111's prompts file: --format a1111 reads those"]
    assert found.prompts == ["fine", "-- a dash"]
    assert manifest("stdin", "--steps 3 --prompt a fox\n").prompts == ["a fox"]


words = st.lists(
    st.sampled_from([*(f"--{key}" for key in KEYS), "--", "a", "3", "'", '"', "\\", "it's", "é"]), max_size=8
)


@given(lines=st.lists(words, min_size=1, max_size=4))
def test_any_words_are_rows_or_faults(tmp_path_factory: pytest.TempPathFactory, lines: list[list[str]]) -> None:
    content = "\n".join(" ".join(line) for line in lines)
    found = read_bytes(tmp_path_factory.getbasetemp(), "a.txt", content.encode(), format="a1111")
    assert found.rows or found.faults.total
    for row in found.rows:
        told = content.split("\n")[row.line - 1]
        assert "--" not in told or "--prompt" in told
