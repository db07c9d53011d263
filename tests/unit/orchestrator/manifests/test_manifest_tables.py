"""CSV, TSV and plain text."""

from pathlib import Path

import pytest
from manifest_files import Reader

from orchestrator.manifests.delimited import DECIMALS
from schemas.rows import ROW_TYPES


def test_text_cells_become_typed_values_and_empty_ones_are_not_given(manifest: Reader) -> None:
    found = manifest("a.csv", "prompt,steps,guidance_scale,width,seed\na,30,7.5, 64 ,\nb,30.0,,,9\n")
    assert [(r.row.steps, r.row.guidance_scale, r.row.seed) for r in found.rows] == [(30, 7.5, None), (30, None, 9)]
    assert not found.texts


def test_an_empty_cell_takes_the_default_and_a_given_one_wins(manifest: Reader) -> None:
    found = manifest("a.csv", "prompt,steps\na,\nb,3\n", defaults={"model": "m", "steps": 9})
    assert [row.row.steps for row in found.rows] == [9, 3]


def test_columns_of_the_users_own_are_kept_as_they_are(manifest: Reader) -> None:
    found = manifest("a.csv", "Category,Challenge,Note,prompt\nx,y,,a\n")
    assert found.rows[0].row.extra == {"Category": "x", "Challenge": "y", "Note": ""}
    assert not found.texts


def test_a_row_over_several_lines_has_the_line_where_it_starts(manifest: Reader) -> None:
    found = manifest("a.csv", 'prompt,steps\n"a\n\nb",3\nc,x\r\n"d\ne",y\n')
    assert (found.prompts, found.lines) == (["a\n\nb"], [2])
    assert [fault.line for fault in found.faults.kept] == [5, 6]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_separate_csv(manifest: Reader, mark: str) -> None:
    found = manifest("a.csv", f'prompt{mark}steps\n"a{mark}b"{mark}3\n')
    assert (found.prompts, found.rows[0].row.steps) == ([f"a{mark}b"], 3)


def test_between_semicolons_decimals_may_have_a_comma_as_spreadsheets_write_them(manifest: Reader) -> None:
    content = "\ufeffPrompt;CFG Scale;Steps;Notes\r\na, b;7,5;20;1,5\r\nc; 6 ;20;\r\nd;7,5,1;20;\r\n"
    found = manifest("a.csv", content)
    assert [(row.row.prompt, row.row.guidance_scale) for row in found.rows] == [("a, b", 7.5), ("c", 6.0)]
    assert found.rows[0].row.extra == {"Notes": "1,5"}
    assert found.texts == ["line 4, guidance_scale = 7,5,1: expected a number from 0 to 100, with a decimal point"]
    assert manifest("b.csv", 'prompt,cfg\na,"7,5"\n').texts != []


def test_the_fields_that_take_decimals_are_those_of_the_schemas() -> None:
    fields = {
        name: field for row in ROW_TYPES.values() for name, field in row.model_json_schema()["properties"].items()
    }
    numbers = {name for name, field in fields.items() if "number" in str(field.get("anyOf", field.get("type")))}
    assert numbers == set(DECIMALS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prompt,steps\na,3,x\n", "line 2: 3 cells, but the header has 2"),
        ("prompt,prompt\na,b\n", "line 1, prompt: the column stands twice in the header"),
        ("prompt,x,x\na,b,c\n", "line 1, x: the column stands twice in the header"),
        (",prompt\n0,a\n", "line 2 = 0: column 1 has no name: name it in the header, or leave it out"),
        ('prompt\n"a"b\n', "line 2: after the closing quote the cell must end"),
        ('prompt\nx\n"never closed\n', "line 3: a quote opens a cell here and is not closed"),
        ('prompt\n"' + "x" * 200_000, "line 2: a quote opens a cell here and is not closed"),
        ("prompt,x\na\rb,c\n", "line 2: a carriage return in a cell"),
        ("a cat, sitting\n", "line 1: no column is a field of ours; the header names a cat, sitting (one prompt"),
        ("prompt,guidance_scale\na,true\n", "line 2, guidance_scale = true: expected a number from 0 to 100"),
        ('prompt,guidance_scale\na,"7,5"\n', "= 7,5: expected a number from 0 to 100, with a decimal point"),
        ("promt\na\n", "line 1, promt: did you mean prompt? --map prompt=promt uses it"),
        ("prompt\n", "manifest: no rows"),
        ("", "manifest: no rows"),
    ],
)
def test_a_faulty_table_is_one_fault_with_its_line(manifest: Reader, content: str, message: str) -> None:
    found = manifest("a.csv", content)
    assert message in found.texts[0]
    assert found.faults.total == 1


def test_short_rows_and_empty_cells_beyond_the_header_lose_nothing(manifest: Reader) -> None:
    found = manifest("a.csv", "prompt,steps,x\na\nb,3,y,,\n\n,,\n")
    assert [(row.row.prompt, row.row.steps, row.row.extra) for row in found.rows] == [
        ("a", None, {"x": ""}),
        ("b", 3, {"x": "y"}),
    ]
    assert not found.texts


def test_a_column_without_name_or_values_is_no_fault(manifest: Reader) -> None:
    assert manifest("a.csv", "prompt,\na,\n").prompts == ["a"]


def test_a_mapped_column_gives_the_field_and_one_that_is_missing_is_a_fault(manifest: Reader) -> None:
    assert manifest("a.csv", "Prompt,x\na,b\n", column_map={"prompt": "Prompt"}).prompts == ["a"]
    found = manifest("a.csv", "Prompts,x\na,b\n", column_map={"prompt": "Prompt"})
    assert "line 1, Prompt: --map prompt=Prompt: no such column: did you mean Prompts?" in found.texts


def test_a_field_from_two_columns_is_a_fault(manifest: Reader) -> None:
    found = manifest("a.csv", "Prompt,prompt\na,b\n", column_map={"prompt": "Prompt"})
    assert found.texts == ["line 1, prompt: 'Prompt' and 'prompt' both give prompt"]


def test_a_column_with_a_name_of_ours_can_be_kept_as_the_users_own(manifest: Reader) -> None:
    found = manifest("a.csv", "prompt,format,sampler\na,sonnet,x\n", extra_columns=frozenset({"format", "sampler"}))
    assert found.rows[0].row.extra == {"format": "sonnet", "sampler": "x"}
    assert found.rows[0].row.format is None
    assert not found.texts


def test_quotes_in_tsv_are_text_unless_a_cell_is_quoted_as_a_whole(manifest: Reader) -> None:
    rows = [
        '"G I G G L E" painted in thick letters\tx',
        'a "quoted" word\ty',
        '"a ""quoted"" cell\twith a tab"\tz',
        '"two\nlines"\t"x"',
        'the end "\t1',
        '"never closed\tx',
        "plain\tx",
    ]
    found = manifest("a.tsv", "prompt\tNote\r\n" + "\r\n".join(rows) + "\r\n")
    assert found.prompts == [
        '"G I G G L E" painted in thick letters',
        'a "quoted" word',
        'a "quoted" cell\twith a tab',
        "two\nlines",
        'the end "',
        '"never closed',
        "plain",
    ]
    assert found.lines == [2, 3, 4, 5, 7, 8, 9]
    assert not found.texts


def test_a_tsv_quote_that_nothing_closes_gives_its_lines_back(manifest: Reader) -> None:
    found = manifest("a.tsv", 'prompt\n"open\n' + ("x" * 100 + "\n") * 2000)
    assert found.prompts == ['"open', *["x" * 100] * 2000]


def test_plain_text_is_one_prompt_a_line_unchanged(manifest: Reader) -> None:
    found = manifest("a.txt", '\ufeff a cat \r\n\r\n  \n{"prompt": 1}, "x"\n')
    assert (found.prompts, found.lines) == ([" a cat ", '{"prompt": 1}, "x"'], [1, 4])


def test_plain_text_has_no_columns_to_map(manifest: Reader) -> None:
    assert "no such column" in manifest("a.txt", "a\n", column_map={"prompt": "Prompt"}).texts[0]


def test_broken_utf8_is_one_fault_and_does_not_break_the_table(manifest: Reader) -> None:
    found = manifest("a.csv", b'prompt,x\n"a\n\xff\xfe",1\nb,2\n')
    remedy = "save it as UTF-8 (in Excel: CSV UTF-8)"
    assert found.texts == [f"line 3: not UTF-8: byte 0xff at byte 1 of the line; {remedy}"]
    assert found.prompts[-1] == "b"


def test_parti_prompts_as_published_is_read_whole(manifest: Reader, tmp_path: Path) -> None:
    """Its columns are not named as ours; a prompt begins with a quote, and cells end with one."""
    content = (
        "Prompt\tCategory\tChallenge\tNote\n"
        '"G I G G L E" painted in thick colorful lettering\tIllustrations\tWriting & Symbols\t\n'
        'Dogs playing poker\tAnimals\tImagination\tDescription of "Dogs Playing Poker"\n'
        "a blue semi-truck. \tVehicles\tBasic\t\n"
    )
    found = manifest("parti.tsv", content, column_map={"prompt": "Prompt"})
    assert found.prompts[0] == '"G I G G L E" painted in thick colorful lettering'
    assert found.prompts[2] == "a blue semi-truck. "
    assert found.rows[1].row.extra["Note"] == 'Description of "Dogs Playing Poker"'
    assert not found.texts
