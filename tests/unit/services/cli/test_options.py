"""Options by environment and by promptmill.toml."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import cli
from services.cli.options import option_defaults


def validated(monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[int, str]:
    (folder / "p.txt").write_text("a cat\n")
    monkeypatch.chdir(folder)
    found = CliRunner().invoke(
        cli, ["validate", "p.txt", "--json"], default_map=option_defaults(), prog_name="promptmill"
    )
    return found.exit_code, found.stdout


def test_an_option_of_the_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "promptmill.toml").write_text('[cli.validate]\nset = ["model=tiny"]\ntask-rows = 1\n')
    status, printed = validated(monkeypatch, tmp_path)
    assert (status, '"tiny":1' in printed) == (0, True)


def test_an_option_of_the_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "promptmill.toml").write_text('[cli.validate]\nset = ["model=tiny"]\n')
    monkeypatch.setenv("PROMPTMILL_VALIDATE_SET", "model=tiny-2")
    status, printed = validated(monkeypatch, tmp_path)
    assert (status, '"tiny-2":1' in printed) == (0, True)


@pytest.mark.parametrize("text", ["not toml [", "cli = 3", "cli.run = 3"])
def test_a_file_that_makes_no_sense_is_left_to_the_settings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "promptmill.toml"
    path.write_text(text)
    assert option_defaults(path) == {}
