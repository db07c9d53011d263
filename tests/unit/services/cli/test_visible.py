"""What others wrote cannot command the terminal that shows it."""

import pytest

from services.cli.output import print_table, say
from services.cli.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\rb\x08\x7f\x9b", "a\\rb\\x08\\x7f\\x9b"),
        ("photo\u202egnp.exe", "photo\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("猫 🐈 ünï 👩\u200d🔬 می\u200cخواهم", "猫 🐈 ünï 👩\u200d🔬 می\u200cخواهم"),
    ],
)
def test_controls_are_shown_and_text_stays(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_messages_and_tables_pass_no_control(capsys: pytest.CaptureFixture[str]) -> None:
    say("bad \x1b[31m")
    print_table(["A"], [["\x1b[31m"]])
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
