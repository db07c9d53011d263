"""One Redis and one S3 endpoint behind proxies for each test process; a prefix and an empty Redis for every test."""

import secrets
from collections.abc import Iterator

import pytest

from schemas.errors import SettingsError
from services.embedded.processes import GuardedProcesses
from tests.faults.fault_mill import FaultMill, FaultServices
from tests.faults.rooms import FLAT, TINY
from tests.missing import missing


@pytest.fixture(scope="session")
def guarded() -> Iterator[GuardedProcesses]:
    with GuardedProcesses() as processes:
        yield processes


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, guarded: GuardedProcesses) -> Iterator[FaultServices]:
    """Without their binaries a laptop skips, CI fails."""
    try:
        made = FaultServices(tmp_path_factory.mktemp("services"), guarded)
    except SettingsError as error:
        missing(f"{error.message}: {error.hint}")
    yield made
    made.close()


@pytest.fixture
def mill(
    services: FaultServices,
    guarded: GuardedProcesses,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[FaultMill]:
    name = "".join(mark if mark.isalnum() else "-" for mark in request.node.name.lower())[:40].strip("-")
    prefix = f"{name}-{secrets.token_hex(4)}"  # the ends of long names would be all that differs
    made = FaultMill(services, guarded, tmp_path_factory.mktemp("mill"), prefix)
    made.redis.flushall()
    try:
        yield made
    finally:
        made.end_all()
        made.redis.close()


@pytest.fixture(params=[FLAT, pytest.param(TINY, marks=pytest.mark.engine)], ids=["flat", "tiny"])
def engine(request: pytest.FixtureRequest) -> str:
    """Pictures without a model, and pictures by the tiny model."""
    return str(request.param)
