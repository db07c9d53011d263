"""What the embedded services are started with."""

import stat
from pathlib import Path

import pytest

from schemas.errors import LocalDiskError, SettingsError
from services.embedded import redis, s3
from services.embedded.credentials import FILE_NAME, load_or_create


def test_credentials_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    made = load_or_create(tmp_path)

    assert load_or_create(tmp_path) == made
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert made.redis_password not in repr(made)
    assert made.s3_secret_access_key not in repr(made)


@pytest.mark.parametrize("text", ["", "{}", '{"redis_password": "x", "other": 1}', "[]"])
def test_damaged_credentials_are_an_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(LocalDiskError, match=FILE_NAME) as caught:
        load_or_create(tmp_path)
    assert "delete it" in caught.value.hint


def test_no_secret_is_on_a_command_line(tmp_path: Path) -> None:
    for spec in (
        redis.redis_process(tmp_path, 7000, "hunter2"),
        s3.s3_process(tmp_path, 7001, "key", "hunter2", "bucket"),
    ):
        assert not any("hunter2" in part for part in spec.argv)
        assert "hunter2" not in repr(spec)
    assert stat.S_IMODE((tmp_path / "redis" / "redis.conf").stat().st_mode) == 0o600


def test_redis_options_are_quoted(tmp_path: Path) -> None:
    path = redis.write_config(tmp_path / "redis.conf", {"requirepass": 'a "b" \\c', "save": ""})
    assert path.read_text() == 'requirepass "a \\"b\\" \\\\c"\nsave ""\n'


def test_a_users_rclone_settings_do_not_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCLONE_VFS_CACHE_MODE", "full")
    spec = s3.s3_process(tmp_path, 7001, "key", 'se"cret', "bucket")
    assert spec.env is not None
    assert {name: value for name, value in spec.env.items() if name.startswith("RCLONE_")} == {
        "RCLONE_AUTH_KEY": '"key,se""cret"'
    }
    assert (tmp_path / "s3" / "bucket").is_dir()


def test_a_key_that_rclone_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="comma"):
        s3.s3_process(tmp_path, 7001, "key", "a,b", "bucket")


@pytest.mark.parametrize("find", [redis.redis_server, s3.rclone])
def test_a_missing_program_names_the_extra(find: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_installed(name: str) -> None:
        raise s3.PackageNotFoundError(name)

    monkeypatch.setattr(redis, "find_spec", lambda name: None)
    monkeypatch.setattr(s3, "files", none_installed)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError) as caught:
        find()  # type: ignore[operator]
    assert caught.value.hint == "pip install 'promptmill[local]'"
