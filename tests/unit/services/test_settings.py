"""Settings: flags > environment > promptmill.toml > running services; every wrong value is named."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from schemas.errors import SettingsError
from services.local_state import publish_services
from services.settings import RedisSettings, S3Settings, as_environment, load_settings

TOML = """
data_dir = "toml"

[s3]
bucket = "toml"
region = "toml"

[dispatch]
task_rows = 7
"""


@pytest.fixture
def folder(no_settings: Path) -> Path:
    """The folder that is worked in, with a promptmill.toml."""
    (no_settings / "promptmill.toml").write_text(TOML)
    return no_settings


class TestOrder:
    def test_without_anything_the_defaults_hold(self, no_settings: Path) -> None:
        settings = load_settings()
        assert (settings.s3.bucket, settings.s3.endpoint_url, settings.dispatch.task_rows) == ("promptmill", None, 32)
        assert settings.redis.url.get_secret_value() == "redis://127.0.0.1:6379/0"

    def test_the_file_beats_the_defaults(self, folder: Path) -> None:
        assert load_settings().s3.bucket == "toml"

    def test_the_environment_beats_the_file_field_by_field(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROMPTMILL_S3__BUCKET", "env")
        settings = load_settings()
        assert (settings.s3.bucket, settings.s3.region, settings.dispatch.task_rows) == ("env", "toml", 7)

    def test_an_empty_address_of_redis_counts_as_none_given(
        self, no_settings: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMPTMILL_REDIS__URL", "")
        assert load_settings().redis == RedisSettings()

    def test_a_flag_beats_the_environment(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROMPTMILL_S3__BUCKET", "env")
        settings = load_settings(s3={"bucket": "flag", "region": None}, log_level=None)
        assert (settings.s3.bucket, settings.s3.region) == ("flag", "toml")

    def test_names_people_have_are_read_where_ours_are_not_given(
        self, no_settings: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
        assert load_settings().s3.endpoint_url == "http://all"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
        assert load_settings().s3.endpoint_url == "http://s3"
        (no_settings / "promptmill.toml").write_text('s3.endpoint_url = "http://toml"')
        assert load_settings().s3.endpoint_url == "http://toml"
        monkeypatch.setenv("PROMPTMILL_S3__ENDPOINT_URL", "http://ours")
        assert load_settings().s3.endpoint_url == "http://ours"

    def test_the_region_has_two_more_names(self, no_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        assert load_settings().s3.region == "eu-west-1"
        monkeypatch.setenv("AWS_REGION", "eu-west-2")
        assert load_settings().s3.region == "eu-west-2"


SERVICES = {"redis": {"url": "redis://:x@127.0.0.1:1/0"}, "s3": {"bucket": "running", "endpoint_url": "http://r"}}


class TestRunningServices:
    def test_they_are_found_in_the_usual_folder(self, no_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        publish_services(Path(".promptmill"), SERVICES)
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        settings = load_settings()
        assert (settings.s3.bucket, settings.s3.endpoint_url) == ("running", "http://r")
        assert settings.redis.url == SecretStr("redis://:x@127.0.0.1:1/0")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PROMPTMILL_S3__BUCKET", "b"),
            ("PROMPTMILL_S3__ENDPOINT_URL", "http://e"),
            ("PROMPTMILL_REDIS__URL", "redis://e"),
            ("AWS_ENDPOINT_URL", "http://e"),
        ],
    )
    def test_they_count_as_a_whole_or_not_at_all(
        self, no_settings: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        publish_services(Path(".promptmill"), SERVICES)
        monkeypatch.setenv(name, value)
        settings = load_settings()
        assert "running" not in settings.s3.bucket
        assert settings.s3.endpoint_url != "http://r"
        assert settings.redis.url != SecretStr("redis://:x@127.0.0.1:1/0")

    def test_they_are_found_where_the_environment_the_file_or_a_flag_says(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "promptmill.toml").write_text('data_dir = "toml"')
        for name in ("toml", "env", "flag"):
            publish_services(Path(name), {"redis": {"url": f"redis://{name}"}})
        assert load_settings().redis.url == SecretStr("redis://toml")
        monkeypatch.setenv("PROMPTMILL_DATA_DIR", "env")
        assert load_settings().redis.url == SecretStr("redis://env")
        assert load_settings(data_dir=Path("flag")).redis.url == SecretStr("redis://flag")


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("PROMPTMILL_WORKER__LEASE_SECONDS", "0", "worker.lease_seconds"),
            ("PROMPTMILL_WORKER__LEASE_SECONDS", "soon", "worker.lease_seconds"),
            ("PROMPTMILL_WORKER__SAFETY", "maybe", "worker.safety"),
            ("PROMPTMILL_DISPATCH__TASK_ROWS", "1.5", "dispatch.task_rows"),
            ("PROMPTMILL_S3__BUKET", "x", "s3.buket"),
            ("PROMPTMILL_S3", "not JSON", '"s3"'),
            ("PROMPTMILL_LOG_LEVEL", "LOUD", "log_level"),
        ],
    )
    def test_a_wrong_value_in_the_environment_is_named(
        self, no_settings: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError) as caught:
            load_settings()
        assert told in caught.value.message
        assert "promptmill.toml" in caught.value.hint
        assert caught.value.exit_status == 2

    @pytest.mark.parametrize(
        ("text", "told"),
        [("[s3\n", "line 1"), ("s4 = 1", "s4"), ("[s3]\nbuket = 1", "s3.buket"), ("worker = 3", "worker")],
    )
    def test_a_wrong_file_is_told(self, no_settings: Path, text: str, told: str) -> None:
        (no_settings / "promptmill.toml").write_text(text)
        with pytest.raises(SettingsError) as caught:
            load_settings()
        assert told in caught.value.message

    def test_no_secret_stands_in_a_message(self, no_settings: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            load_settings(s3={"secret_access_key": "hush", "connections": "hush"}, redis={"url": ["hush"]})
        assert "hush" not in f"{caught.value.message}{caught.value.hint}"


class TestAsEnvironment:
    def test_another_process_reads_the_same_settings(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load_settings(
            s3={"secret_access_key": "hush", "access_key_id": "id", "prefix": "/a/b/"},
            redis={"url": "redis://:hush@h:1/0"},
            worker={"exact": True, "safety_threshold": -0.5, "stall_seconds": 1.5},
            models_file="own.toml",
        )
        for name, value in as_environment(settings).items():
            monkeypatch.setenv(name, value)
        (folder / "promptmill.toml").unlink()
        assert load_settings() == settings
        assert load_settings().s3.prefix == "a/b"

    def test_what_nobody_set_is_left_to_the_other_process(self, no_settings: Path) -> None:
        assert as_environment(load_settings(s3={"bucket": "b"})) == {"PROMPTMILL_S3__BUCKET": "b"}


def test_an_endpoint_with_a_password_in_it_is_refused_and_nothing_of_it_told(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_S3__ENDPOINT_URL", "http://user:canary@127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"s3\.endpoint_url: .*no user or password") as caught:
        load_settings()
    assert "canary" not in f"{caught.value} {caught.value.hint}"


def test_no_secret_is_shown(no_settings: Path) -> None:
    settings = load_settings(s3={"secret_access_key": "hush"}, redis={"url": "redis://:hush@h"})
    assert "hush" not in f"{settings!r}{settings}{settings.model_dump_json()}"


@pytest.mark.parametrize("prefix", ["a", "/a", "a/", "//a//"])
def test_a_prefix_has_no_slash_at_its_ends(prefix: str) -> None:
    assert S3Settings(prefix=prefix).prefix == "a"
