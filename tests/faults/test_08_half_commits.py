"""A worker that dies between an image and its piece, or between a piece and the ledger."""

import pytest

from tests.faults.fault_mill import FaultMill
from tests.faults.jobs import prompts

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "0.05", "PROMPTMILL_FLAT_STEP_SECONDS": "0.05"}


@pytest.mark.parametrize("point", ["worker.rendered", "commit.image", "commit.imaged"])
def test_images_without_a_piece_are_rendered_again_and_collected(mill: FaultMill, point: str) -> None:
    mill.orchestrator()
    mill.worker("w", PROMPTMILL_FAILPOINTS=f"{point}=kill", **PIECES)
    mill.submit(prompts(64), "half")
    mill.wait_until_fired(point)
    assert mill.wait_for("half").done == 64
    assert 0 < mill.repeated("half") <= 32
    if point != "worker.rendered":
        assert mill.images("half") - mill.named_images("half"), "no image was left behind: the fault tests nothing"
    mill.settle("half")


@pytest.mark.parametrize("point", ["commit.written@2", "worker.counted"])
def test_rows_that_stand_in_a_piece_are_counted_and_not_rendered_again(mill: FaultMill, point: str) -> None:
    name, _, number = point.partition("@")
    mill.orchestrator()
    mill.worker("w", PROMPTMILL_FAILPOINTS=f"{name}=kill@{number or 1}", **PIECES)
    mill.submit(prompts(64), "piece")
    mill.wait_until_fired(name)
    committed = {line.id for line in mill.pieces("piece")}
    assert committed
    assert mill.wait_for("piece").done == 64
    twice = {row for (row, _), count in mill.rendered("piece").items() if count > 1}
    assert not twice & committed
    mill.settle("piece")
