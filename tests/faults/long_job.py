"""`python -m tests.faults.long_job`: one large job, a worker killed -9 every few seconds, Redis restarted twice.

It ends complete, no row stands twice in its results, and few images are rendered more than once: counted by the line
that a worker logs for each image that it denoised, so that images count which never reached the store.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from services.embedded.processes import GuardedProcesses
from tests.faults.fault_mill import FaultMill, FaultServices
from tests.faults.injectors import Plant, redis_killed, replace_worker
from tests.faults.jobs import prompts
from tests.faults.rooms import FLAT, TINY

JOB = "long"
MOST_AGAIN = 0.10
GIVE_UP_SECONDS = 3 * 3600.0
LEASE_SECONDS = 30.0
# Between two kills the tiny model renders about a hundred images: a piece every 30 s would never be written.
PIECES = {"PROMPTMILL_WORKER__PIECE_SECONDS": "2"}


def run(plant: Plant, rows: int, pause: float) -> None:
    """Run the job and break it until it has ended."""
    mill, kills, restarts = plant.mill, 0, 0
    plant.job = JOB
    mill.submit(prompts(rows), JOB)
    mill.wait_for_lease(JOB)
    started = time.monotonic()
    while not mill.ended(JOB):
        assert time.monotonic() - started < GIVE_UP_SECONDS, mill.client.status(JOB)
        due = time.monotonic() + pause
        replace_worker(plant, plant.dice.choice(plant.workers))  # at work, or still starting
        kills += 1
        rendered = len(mill.rendered(JOB))
        if restarts < 2 and rendered > rows * (restarts + 1) / 3:
            redis_killed(plant)
            restarts += 1
        say(f"{rendered} images, {kills} workers killed, {restarts} restarts of Redis")
        while time.monotonic() < due and not mill.ended(JOB):
            time.sleep(0.5)
    seconds = time.monotonic() - started
    summary = mill.check_invariant(JOB)
    again = mill.repeated(JOB)
    say(f"{summary.done} of {rows} rows done in {seconds:.0f} s, {kills} workers killed, {restarts} restarts of Redis")
    say(f"{again} renderings repeated: {again / rows:.1%} of the images; the invariant holds")
    assert (summary.done, summary.images, restarts) == (rows, rows, 2)
    assert again < rows * MOST_AGAIN, "too much was rendered again"
    mill.settle(JOB)


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=10, help="seconds between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flat", action="store_true", help="pictures without a model, 13 a second")
    parser.add_argument("--folder", type=Path, help="where logs and objects go; kept")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="promptmill-long-"))
    with GuardedProcesses() as processes:
        services = FaultServices(folder / "services", processes)
        mill = FaultMill(services, processes, folder, "long", variables={})  # leases and graces as a user has them
        variables = PIECES | ({"PROMPTMILL_FLAT_STEP_SECONDS": "0.3"} if asked.flat else {})
        plant = Plant(mill, random.Random(asked.seed), LEASE_SECONDS, FLAT if asked.flat else TINY, variables)
        plant.add_orchestrator()
        for _ in range(asked.workers):
            plant.add_worker()
        say(f"{asked.rows} rows, {asked.workers} workers, {folder}")
        run(plant, asked.rows, asked.pause)
    return 0


if __name__ == "__main__":
    sys.exit(main())
