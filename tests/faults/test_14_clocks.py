"""Clocks that are five minutes off, of a worker, an orchestrator or a client: leases go by Redis' clock alone."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import PATIENT, SLOW_STEPS
from tests.missing import missing

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
OFF = 300


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that moves the wall clock of the process that preloads it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("no C compiler")
    library = tmp_path_factory.mktemp("clock") / "offset.so"
    source = Path(__file__).with_name("clock_offset.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def moved(clock: Path, seconds: int) -> dict[str, str]:
    return {"LD_PRELOAD": str(clock), "OFFSET_SECONDS": str(seconds)}


@pytest.mark.parametrize("seconds", [OFF, -OFF])
def test_a_worker_whose_clock_is_off_loses_no_lease_and_wins_no_row(mill: FaultMill, clock: Path, seconds: int) -> None:
    mill.orchestrator()
    mill.worker("off", **SLOW_STEPS, **PATIENT, **moved(clock, seconds))
    mill.worker("right", **SLOW_STEPS, **PATIENT)
    mill.submit(prompts(150), "clock")
    status = mill.wait_for("clock")
    assert (status.done, mill.losses("clock")) == (150, 0)
    assert max(mill.rendered("clock").values()) == 1
    now = datetime.now(UTC)
    ages = [(now - datetime.fromisoformat(line.finished_at)).total_seconds() for line in mill.pieces("clock")]
    assert any(age * -seconds > 0 and abs(age) > OFF / 2 for age in ages), "no worker's clock was off"
    mill.settle("clock")


@pytest.mark.parametrize("seconds", [OFF, -OFF])
def test_an_orchestrator_whose_clock_is_off_counts_no_loss(mill: FaultMill, clock: Path, seconds: int) -> None:
    mill.orchestrator(**moved(clock, seconds))
    mill.worker("w", **SLOW_STEPS, **PATIENT)
    mill.submit(prompts(100), "dispatch")
    status = mill.wait_for("dispatch")
    assert (status.done, mill.losses("dispatch")) == (100, 0)
    assert max(mill.rendered("dispatch").values()) == 1
    mill.settle("dispatch")


def test_commands_of_clients_with_different_clocks_count_in_the_order_in_which_they_were_given(
    mill: FaultMill, clock: Path
) -> None:
    mill.orchestrator()
    mill.worker("w", PROMPTMILL_FLAT_STEP_SECONDS="0.5")
    mill.submit(prompts(3000), "order")  # far more than are rendered meanwhile
    mill.wait_for_images("order", 8)
    mill.command("pause", "order", **moved(clock, OFF))
    mill.until(lambda: mill.client.status("order").state == "paused", what="the pause")
    mill.command("resume", "order", **moved(clock, -OFF))
    mill.until(lambda: mill.client.status("order").state == "running", what="the resumption")
    mill.command("cancel", "order")
    assert mill.wait_for("order").state == "cancelled"
    mill.settle("order")
