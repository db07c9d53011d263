"""Templates: only where they are asked for, the same prompts each time, and errors where the library has none."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifest_files import Found, Reader, read_bytes

from orchestrator.manifests import parse_set
from schemas.document import MOST_PROMPTS, Template
from schemas.errors import SettingsError

PLAIN = ["50% off", "$5", "#1 best", "a { b", "{a|b}", "__colour__", "a // b", "{name}", "}}"]


@pytest.fixture
def templated(manifest: Reader, tmp_path: Path) -> Any:
    """`templated(text, **template)`: rows of a text file under `--set template=dynamic`."""
    folder = tmp_path / "wildcards"
    (folder / "animals").mkdir(parents=True)
    (folder / "colour.txt").write_text("red\nblue\n# not one\n\ngreen\n")
    (folder / "animals/birds.txt").write_text("{old|young} owl\na __colour__ wren\n")
    (folder / "loop.txt").write_text("x __loop__\n")
    (folder / "longer.txt").write_text("y\nx __longer__\n")
    (folder / "empty.txt").touch()

    def reader(text: str, **template: Any) -> Found:
        return manifest("a.txt", text, defaults={"model": "tiny", "template": {"syntax": "dynamic"} | template})

    return reader


def test_without_a_template_a_prompt_is_text(manifest: Reader) -> None:
    assert manifest("a.txt", "\n".join(PLAIN)).prompts == PLAIN
    assert manifest("a.json", json.dumps(PLAIN)).prompts == PLAIN
    found = manifest(
        "a.json", json.dumps({"template": "dynamic", "rows": [{"prompt": p, "template": "plain"} for p in PLAIN]})
    )
    assert found.prompts == PLAIN


def test_every_prompt_of_a_template_in_order(templated: Any) -> None:
    found = templated("a {red|blue} {fox|cat}\n", mode="combinatorial")
    assert found.prompts == ["a red fox", "a red cat", "a blue fox", "a blue cat"]
    assert [row.coordinates for row in found.rows] == [{"template": number} for number in range(4)]
    assert templated("{2$$ and $$a|b|c}\n", mode="combinatorial", count=3).prompts == ["a and b", "a and c", "b and a"]


def test_one_whole_cycle_or_so_many(templated: Any) -> None:
    assert templated("{a|b|c} {x|y}\n", mode="cyclical").prompts == ["a x", "b y", "c x", "a y", "b x", "c y"]
    assert templated("{a|b|c} {x|y}\n", mode="cyclical", count=2).prompts == ["a x", "b y"]


def test_random_prompts_are_the_same_each_time_and_differ_by_row_and_seed(templated: Any) -> None:
    text = "{a|b|c|d} {1|2|3|4} {w|x|y|z}\n"
    first = templated(text * 20)
    assert first.prompts == templated(text * 20).prompts
    assert len(set(first.prompts)) > 5
    assert first.prompts != templated(text * 20, seed=1).prompts
    assert [row.coordinates for row in first.rows] == [None] * 20
    assert templated(text, count=9).prompts[0] == first.prompts[0]


def test_random_prompts_are_these_in_every_version(templated: Any) -> None:
    """The rule is part of the format: prompts must not change under a manifest that stays."""
    assert templated("a {red|blue|green} {fox|cat|owl}\n" * 3).prompts == ["a green fox", "a red cat", "a red fox"]


def test_weights_decide_how_often(templated: Any) -> None:
    prompts = templated("{9::a|1::b}\n" * 200).prompts
    assert prompts.count("a") > 150


def test_a_rows_id_seeds_its_prompts_wherever_it_stands(manifest: Reader) -> None:
    def line(row_id: str) -> str:
        return json.dumps({"id": row_id, "prompt": "{a|b|c|d|e|f} {1|2|3|4|5|6}", "template": "dynamic"}) + "\n"

    first = manifest("a.jsonl", line("x") + line("y"))
    second = manifest("a.jsonl", line("z") + line("y") + line("x"))
    assert first.prompts == second.prompts[:0:-1]
    assert [row.row.id for row in first.rows] == ["x", "y"]


def test_duplicates_are_left_out_and_counted(templated: Any) -> None:
    found = templated("{a|b}\n{c|c}\n", count=50)
    assert sorted(found.prompts) == ["a", "b", "c"]
    assert sorted(row.coordinates["template"] for row in found.rows) == [0, 0, 1]
    assert [str(warning) for warning in found.faults.warnings.kept] == [
        "line 1, prompt = {a|b}: 48 prompts of this template came before in it, and were left out",
        "line 2, prompt = {c|c}: 49 prompts of this template came before in it, and were left out",
    ]


def test_lists_stand_beside_the_manifest_or_where_it_says(templated: Any, tmp_path: Path) -> None:
    assert templated("__colour__\n", mode="combinatorial").prompts == ["blue", "green", "red"]
    birds = ["a blue wren", "a green wren", "a red wren", "old owl", "young owl"]
    assert templated("__animals/birds__\n", mode="combinatorial").prompts == birds
    assert templated("__birds__\n", mode="combinatorial").prompts == birds
    (tmp_path / "wildcards").rename(tmp_path / "lists")
    assert templated("__colour__\n", mode="combinatorial", wildcards="lists").prompts == ["blue", "green", "red"]
    assert (
        "no such list as there is no folder of lists: template.wildcards names one"
        in templated("__colour__\n").texts[0]
    )


@pytest.mark.parametrize("mode", ["random", "combinatorial", "cyclical"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("50% off", "cannot be read from character 3 on, '% off': in this syntax { } | $ % # __ have a meaning"),
        ("$5", "cannot be read from character 1 on"),
        ("{a|", "cannot be read from character 1 on"),
        ("#1 best", "empty prompt|no prompt"),
        ("{}", "it gives an empty prompt (# begins a comment in this syntax)"),
        ("{3$$}", "empty prompt|no prompt"),
        ("${x}", "Variable x is not defined"),
        ("${x=${x}}${x}", "it never comes to an end"),
        ("__clour__", "__clour__: no such list in "),
        ("__empty__", "__empty__: no such list in "),
        ("__../secret__", "__../secret__: a list is named by its place in the folder"),
        ("__loop__", "it never comes to an end: does a list or a variable name itself?"),
        ("{" * 40 + "a" + "}" * 40, "braces nested 40 levels deep; at most 30 are accepted"),
    ],
)
def test_what_the_library_passes_over_is_a_fault(templated: Any, mode: str, text: str, message: str) -> None:
    began = time.process_time()
    found = templated(f"fine\n{text}\n", mode=mode)
    assert found.prompts[:1] == ["fine"]
    assert found.faults.total == 1
    assert found.texts[0].startswith("line 2, prompt")
    assert any(part in found.texts[0] for part in message.split("|"))
    assert time.process_time() - began < 20


def test_a_template_that_is_at_work_without_a_prompt_is_stopped(templated: Any) -> None:
    began = time.process_time()
    choices = "|".join(f"{{a|{number}}}" for number in range(20))
    found = templated(f"{{20$${choices}}}\n", mode="combinatorial")
    assert "it never comes to an end" in found.texts[0]
    assert time.process_time() - began < 20


def test_more_prompts_than_are_accepted_is_a_fault_unless_a_count_says_how_many(templated: Any) -> None:
    text = "{a|b|c|d|e|f|g|h}" * 4 + "\n"
    assert len(templated(text, mode="combinatorial").rows) == 8**4
    assert len(templated(text * 2, mode="combinatorial", count=5).rows) == 10
    assert MOST_PROMPTS < 8**6


def test_every_combination_of_a_sweep_has_the_same_prompts(manifest: Reader) -> None:
    content = (
        "template: {syntax: dynamic, count: 3}\nspace: {seed: 1-2}\n"
        "rows: [{id: i, prompt: 'a {a|b|c|d|e|f} {1|2|3|4|5}', negative_prompt: '{x|y|z}'}]\n"
    )
    found = manifest("a.yaml", content)
    assert [row.row.id for row in found.rows] == [f"i-{seed}-{number:06d}" for seed in (0, 1) for number in range(3)]
    texts = [(row.row.prompt, row.row.negative_prompt) for row in found.rows]
    assert texts[:3] == texts[3:]
    assert found.rows[4].coordinates == {"seed": 2, "template": 1}


def test_negative_prompts_are_made_as_well(manifest: Reader) -> None:
    content = "template: {syntax: dynamic, mode: combinatorial}\nrows: [{prompt: '{a|b}', negative_prompt: '{x|y}'}]\n"
    found = manifest("a.yaml", content)
    assert [(row.row.prompt, row.row.negative_prompt) for row in found.rows] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "x"),
        ("b", "y"),
    ]


def test_a_row_without_a_prompt_is_left_alone(manifest: Reader) -> None:
    content = "template: dynamic\nrows: [{init_image: a.png}, {init_image: a.png, template: fill}]\n"
    assert manifest("a.yaml", content).prompts == ["", ""]


def test_names_are_filled_from_columns_and_spaces_where_the_row_asks(manifest: Reader) -> None:
    content = (
        "rows:\n- prompt: 'a {kind} {animal}, {{x}} {n} {f} {b}'\n  negative_prompt: 'no {animal}'\n  template: fill\n"
        "  kind: red\n  n: 3\n  f: 0.5\n  b: true\n  space: {animal: [fox, cat]}\n"
        "- {prompt: 'a {animal}', space: {animal: [fox, cat]}}\n"
    )
    found = manifest("a.yaml", content)
    assert not found.texts
    assert found.prompts == ["a red fox, {x} 3 0.5 true", "a red cat, {x} 3 0.5 true", "a {animal}", "a {animal}"]
    assert found.rows[1].row.negative_prompt == "no cat"
    assert found.rows[1].row.extra["animal"] == "cat"
    assert found.rows[3].coordinates == {"animal": "cat"}


def test_columns_of_a_table_fill_a_prompt_as_in_a_mail_merge(manifest: Reader) -> None:
    found = manifest("a.csv", "product,colour,prompt\ncup,red,\nlamp,blue,my {product}\n", defaults={
        "model": "tiny", "template": "fill", "prompt": "never asked",
    })  # fmt: skip
    assert found.prompts == ["never asked", "my lamp"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a {animl}", "{animl} is no column of your own, in the row or its space: did you mean {animal}?"),
        (
            "a {zzzz}",
            "{zzzz} is no column of your own, in the row or its space: braces that are text are",
        ),
        ("a {seed}", "{seed} is no column of your own"),
        ("a {", "{ alone: a brace is written twice, {{"),
        ("a }", "} alone: a brace is written twice, }}"),
        ("a {list}", "{list} is a list: expected text or a number"),
        ("a {nothing}", "{nothing} has no value in this row"),
        ("a {}", "{} is no column of your own"),
    ],
)
def test_a_name_that_cannot_be_filled_is_a_fault(manifest: Reader, prompt: str, message: str) -> None:
    row = {"prompt": prompt, "template": "fill", "animal": "fox", "list": [1], "nothing": None, "seed": 3}
    found = manifest("a.jsonl", json.dumps(row))
    assert found.faults.total == 1
    assert message in found.texts[0]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "dynamc",
            "template = dynamc: expected one of dynamic, fill, plain; --extra template keeps",
        ),
        (5, "template = 5: expected dynamic, fill or plain, or an object with syntax"),
        ({}, "template = an object: syntax: expected one of dynamic, fill, plain"),
        ({"syntax": "dynamic", "cont": 3}, "cont: no such setting; there are syntax, mode, count, seed, wildcards"),
        ({"syntax": "dynamic", "count": 0}, "count: expected a whole number from 1 to 250,000"),
        ({"syntax": "dynamic", "mode": "all"}, "mode: expected one of random, combinatorial, cyclical"),
        ({"syntax": "dynamic", "wildcards": "nowhere"}, "wildcards: no such folder as "),
    ],
)
def test_a_template_that_says_nothing_known_is_a_fault(manifest: Reader, template: Any, message: str) -> None:
    found = manifest("a.jsonl", json.dumps({"prompt": "a", "template": template}))
    assert found.faults.total == 1
    assert message in found.texts[0]


def test_a_column_of_that_name_can_be_kept(manifest: Reader) -> None:
    found = manifest("a.csv", "prompt,template\n{a|b},t-shirt\n", extra_columns=frozenset({"template"}))
    assert (found.prompts, found.rows[0].row.extra) == (["{a|b}"], {"template": "t-shirt"})


def test_set_gives_a_template_in_parts() -> None:
    texts = ["template=dynamic", "template.count=3", "template.wildcards=lists", "steps=3"]
    assert parse_set(texts) == {"template": {"syntax": "dynamic", "count": 3, "wildcards": "lists"}, "steps": 3}
    for wrong, message in [
        (["template.count=3"], "--set template.count: add --set template=dynamic"),
        (["template=x"], "--set template: syntax: expected one of dynamic, fill, plain"),
        (["template=dynamic", "template.count=x"], "--set template: count: expected a whole number"),
    ]:
        with pytest.raises(SettingsError) as caught:
            parse_set(wrong)
        assert message in caught.value.message


def test_a_rows_template_wins_over_the_documents_that_over_set(manifest: Reader) -> None:
    content = "template: fill\nrows: [{prompt: '{x}', x: y}, {prompt: '{x}', x: y, template: plain}]\n"
    assert manifest("a.yaml", content, defaults={"model": "tiny", "template": "dynamic"}).prompts == ["y", "{x}"]
    as_default = "defaults: {template: fill}\nrows: [{prompt: '{x}', x: y}]\n"
    assert manifest("a.yaml", as_default).prompts == ["y"]
    both = "defaults: {template: fill}\ntemplate: fill\nrows: [a]\n"
    assert manifest("a.yaml", both).texts == ["line 2, template: the defaults have one already"]


def test_the_library_is_imported_only_where_a_template_asks_for_it() -> None:
    code = "import sys, orchestrator.cli.main, orchestrator.manifests; print('dynamicprompts' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


MARKS = [
    "{",
    "}",
    "|",
    "$$",
    "__",
    "${",
    "%{",
    "#",
    "::",
    "1",
    "2-3",
    "a",
    " ",
    "=",
    ":",
    "@",
    "!",
    "~",
    "list",
    "(",
    ")",
]
MODES = ["random", "combinatorial", "cyclical"]
texts = st.lists(st.sampled_from(MARKS), min_size=1, max_size=25).map("".join)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts, mode=st.sampled_from(MODES))
def test_any_template_gives_prompts_or_a_fault(tmp_path_factory: pytest.TempPathFactory, text: str, mode: str) -> None:
    template = Template(syntax="dynamic", mode=mode, count=20)  # type: ignore[arg-type]
    folder = tmp_path_factory.getbasetemp()
    defaults = {"model": "tiny", "template": template.model_dump()}
    found = read_bytes(folder, "a.json", json.dumps([text]).encode(), defaults=defaults)
    assert found.rows or found.faults.total
    assert len(found.rows) <= 20
