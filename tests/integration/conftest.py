"""One Redis and one S3 endpoint for the session; a prefix and an empty Redis for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import SettingsError
from services.embedded.processes import GuardedProcesses
from services.embedded.stack import start_local_services
from services.redis_client import connect
from services.settings import Settings, load_settings
from tests.integration.mill import Mill
from tests.missing import missing


@pytest.fixture(scope="session")
def guarded() -> Iterator[GuardedProcesses]:
    with GuardedProcesses() as processes:
        yield processes


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, guarded: GuardedProcesses) -> dict[str, dict[str, str]]:
    """Settings that lead to real services. Without their binaries a laptop skips, CI fails."""
    try:
        return start_local_services(tmp_path_factory.mktemp("services"), guarded)
    except SettingsError as error:
        missing(f"{error.message}: {error.hint}")


@pytest.fixture
def mill(
    services: dict[str, dict[str, str]],
    guarded: GuardedProcesses,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Mill]:
    prefix = "".join(mark if mark.isalnum() else "-" for mark in request.node.name.lower())[:60]
    settings: Settings = load_settings(
        s3=services["s3"] | {"prefix": prefix},
        redis=services["redis"],
        data_dir=tmp_path / ".promptmill",
    )
    redis = connect(settings.redis)
    redis.flushall()
    redis.close()
    mill = Mill(settings, guarded, tmp_path)
    try:
        yield mill
    finally:
        mill.end_all()
