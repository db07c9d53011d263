"""What `--help` and a mistyped command say, and commands whose libraries are not installed."""

from importlib.metadata import EntryPoint

import click
import pytest

from orchestrator.cli import main as main_module
from orchestrator.cli.main import cli, main


def commands() -> list[str]:
    return cli.list_commands(click.Context(cli))


@pytest.mark.parametrize("name", commands())
def test_every_command_has_a_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"Usage: promptmill {name}" in capsys.readouterr().out


def test_the_environment_names_options_by_their_flags() -> None:
    context = click.Context(cli)
    retry, models = cli.get_command(context, "retry"), cli.get_command(context, "models")
    assert retry is not None
    assert isinstance(models, click.Group)
    assert {"PROMPTMILL_RETRY_CLASS", "PROMPTMILL_RETRY_JSON"} <= {option.envvar for option in retry.params}
    assert "PROMPTMILL_MODELS_LIST_JSON" in {option.envvar for option in models.commands["list"].params}


def test_examples_keep_their_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        main(["retry", "--help"])
    assert "\n     promptmill retry my-job --class out_of_memory" in capsys.readouterr().out


def test_a_command_that_cannot_be_loaded_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("worker", "no_such_module_at_all:worker", main_module.COMMAND_GROUP)
    monkeypatch.setattr(main_module, "entry_points", lambda group, name="worker": [broken] if name == "worker" else [])
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    with pytest.raises(SystemExit) as ended:
        main(["worker", "--gpus", "all"])
    assert ended.value.code == 2
    assert "promptmill[worker]" in capsys.readouterr().err
