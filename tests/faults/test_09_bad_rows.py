"""Rows that kill their process, do not fit into memory, or hang: only they fail, and each with its own reason."""

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import PATIENT, TINY

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
# The same rules with fewer losses: every loss of the tiny model costs an import of torch.
SOON = {"PROMPTMILL_DISPATCH__LOSSES_BEFORE_SPLIT": "1", "PROMPTMILL_DISPATCH__LOSSES_BEFORE_POISON": "2"}


def test_a_row_that_kills_its_process_fails_alone_as_poison(mill: FaultMill, engine: str) -> None:
    rules = SOON if engine == TINY else {}
    mill.orchestrator(**rules)
    mill.worker("w", engine=engine)
    mill.submit([*prompts(6), {"prompt": "poison !exit", "id": "bad"}, *prompts(6)], "poison")
    status = mill.wait_for("poison", seconds=250)
    assert (status.done, status.failed, status.failures) == (12, 1, {"poison": 1})
    bad = next(line for line in mill.table("poison") if line["id"] == "bad")
    assert bad["attempts"] == (2 if rules else 3)
    mill.settle("poison")


def test_rows_that_fit_two_at_a_time_are_done_two_at_a_time(mill: FaultMill, engine: str) -> None:
    mill.orchestrator()
    mill.worker("w", engine=engine, **PATIENT)
    mill.submit(prompts(16, "large !oom>2"), "halved")
    status = mill.wait_for("halved")
    assert (status.done, status.failed, mill.losses("halved")) == (16, 0, 0)
    assert "did not fit into memory" in mill.log("w")
    assert {line["batch_size"] for line in mill.table("halved")} <= {1, 2}
    mill.settle("halved")


def test_a_row_that_never_fits_fails_alone_with_out_of_memory(mill: FaultMill, engine: str) -> None:
    mill.orchestrator()
    mill.worker("w", engine=engine)
    mill.submit([*prompts(6), {"prompt": "too large !oom>0", "id": "bad"}, *prompts(6)], "memory")
    status = mill.wait_for("memory")
    assert (status.done, status.failed, status.failures) == (12, 1, {"out_of_memory": 1})
    mill.settle("memory")


def test_a_hung_step_is_ended_by_the_limit_and_its_row_fails_alone(mill: FaultMill, engine: str) -> None:
    mill.orchestrator(**SOON)
    limit = "15" if engine == TINY else "3"  # longer than any load or step that is honest
    mill.worker("w", engine=engine, PROMPTMILL_WORKER__STALL_SECONDS=limit)
    mill.submit([*prompts(6), {"prompt": "endless !hang", "id": "bad"}, *prompts(6)], "hang")
    status = mill.wait_for("hang", seconds=300)
    assert (status.done, status.failed, status.failures) == (12, 1, {"poison": 1})
    assert "no progress for" in mill.log("w")
    mill.settle("hang")
