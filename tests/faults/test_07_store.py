"""The object store slow, broken, away, or with lost replies: no row fails, and none is counted that is not there."""

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts
from tests.faults.rooms import PATIENT, SLOW_STEPS
from tests.faults.s3_proxy import StoreFault

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "0.5"}
FAULTS = {
    "a storm of 503 SlowDown": (StoreFault("status", chance=0.7), 40),
    "a storm of 500": (StoreFault("status", status=500, code="InternalError", chance=0.5), 40),
    "images cut midway": (StoreFault("cut", method="PUT", word="/images/", times=10), 10),
    "pieces cut midway": (StoreFault("cut", method="PUT", word="/results/", times=3), 3),
    "lost replies of images": (StoreFault("lost", method="PUT", word="/images/", times=10), 10),
    "lost replies of pieces": (StoreFault("lost", method="PUT", word="/results/", times=3), 3),
    "reads that fail": (StoreFault("status", method="GET", status=500, code="InternalError", times=10), 10),
    "a bucket that is gone": (StoreFault("status", status=404, code="NoSuchBucket"), 10),
    "credentials revoked": (StoreFault("status", status=403, code="InvalidAccessKeyId"), 10),
    "a hang": (StoreFault("hang"), 8),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_row_fails_and_none_is_lost_under(name: str, mill: FaultMill) -> None:
    fault, hits = FAULTS[name]
    mill.orchestrator()
    mill.worker("w", count=2, **SLOW_STEPS, **PIECES)
    mill.submit(prompts(150), "store")
    mill.wait_for_images("store", 24)
    with mill.s3_proxy.during(fault):
        mill.until(lambda: fault.fired >= hits, what=f"{hits} requests hit by {name}")
    status = mill.wait_for("store", seconds=200)
    assert (status.done, status.failed) == (150, 0)
    assert mill.repeated("store") <= 2 * 32 * 2
    mill.settle("store")


def test_a_store_that_is_away_for_a_whole_task_gets_its_finished_rows_later(mill: FaultMill) -> None:
    mill.orchestrator()
    mill.worker("w", **SLOW_STEPS, **PATIENT)
    mill.submit(prompts(32), "away")
    mill.wait_for_images("away", 4)
    fault = StoreFault("status", method="PUT", status=403, code="AccessDenied")
    with mill.s3_proxy.during(fault):
        mill.until(lambda: "given back job=away" in mill.log("w"), what="the task's return")
    assert fault.fired > 0
    status = mill.wait_for("away", seconds=200)
    assert (status.done, status.failed, mill.losses("away")) == (32, 0, 0)
    mill.settle("away")
