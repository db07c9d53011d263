"""What goes wrong with a secret does not tell it."""

import traceback
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.client import Client
from schemas.errors import PromptmillError
from services.settings import RedisSettings, S3Settings, as_environment, load_settings

CANARY = "canary-5f1b"


@pytest.fixture
def environment(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch, store_settings: S3Settings, redis_server: RedisSettings
) -> pytest.MonkeyPatch:
    for name, value in as_environment(load_settings(s3=store_settings, redis=redis_server)).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def ask_everything() -> None:
    client = Client()
    list(client.jobs())
    client.workers()


@pytest.mark.parametrize(
    "variables",
    [
        {"PROMPTMILL_REDIS__URL": f"redis://:{CANARY}@127.0.0.1:1/0"},
        {"PROMPTMILL_REDIS__URL": f"redis://:x/{CANARY}@127.0.0.1:1/0"},
        {"PROMPTMILL_REDIS__URL": f"redis://:7/{CANARY}@127.0.0.1:1/0"},
        {"PROMPTMILL_REDIS__URL": f"redis://:{CANARY}"},
        {"PROMPTMILL_REDIS__URL": f"rediss://u:{CANARY}@127.0.0.1:1/0", "PROMPTMILL_REDIS__CA_FILE": "no.pem"},
        {"PROMPTMILL_REDIS__SIGNING_KEY": "canary", "PROMPTMILL_S3__SECRET_ACCESS_KEY": CANARY},
        {"PROMPTMILL_S3__SECRET_ACCESS_KEY": CANARY},
        {"PROMPTMILL_S3__SECRET_ACCESS_KEY": CANARY, "PROMPTMILL_S3__CONNECTIONS": "none"},
        {"PROMPTMILL_S3": f'{{"secret_access_key": "{CANARY}"'},
    ],
)
def test_commands_errors_and_tracebacks_are_silent_about_it(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    for command in (["workers"], ["list", "--json"]):
        with pytest.raises(SystemExit):
            main(command)
    told = capsys.readouterr()
    with pytest.raises(PromptmillError) as caught:
        ask_everything()
    trace = "".join(traceback.format_exception(caught.value))
    assert "canary" not in told.out + told.err + trace + repr(caught.value)
    assert told.err


def test_settings_show_no_secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PROMPTMILL_REDIS__URL", f"redis://:{CANARY}@127.0.0.1:1/0")
    environment.setenv("PROMPTMILL_REDIS__SIGNING_KEY", CANARY * 3)
    environment.setenv("PROMPTMILL_S3__SECRET_ACCESS_KEY", CANARY)
    settings = load_settings()
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert CANARY in str(as_environment(settings))  # what a process hands to those that it starts
