"""How long recovery takes with the settings that a user has: `python -m benchmarks.recovery [--repeat 3] [--tiny]`.

Real processes against a real Redis and a real S3 endpoint; two workers are in the middle of a long job. After each
fault the time is taken until every task that was in flight at that moment is done, by whomever. With the test engine
a task takes about a second, so that the time is that of the recovery, and not of the rendering.
"""

import argparse
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

from services.embedded.processes import GuardedProcesses
from services.settings import load_settings
from tests.faults import injectors
from tests.faults.fault_mill import FaultMill, FaultServices
from tests.faults.injectors import Plant
from tests.faults.jobs import prompts
from tests.faults.recovery import Recovery
from tests.faults.rooms import FLAT, TINY

JOB = "recovery"
ROWS = 200_000
CALM_SECONDS = 5.0
LIMITS = {"worker_killed": 60.0, "worker_termed": 5.0}
FAULTS = (
    injectors.worker_killed,
    injectors.worker_termed,
    injectors.pool_child_killed,
    injectors.worker_group_killed,
    injectors.worker_stopped,
    injectors.orchestrator_killed,
    injectors.redis_killed,
    injectors.redis_flushed,
    injectors.redis_silent,
    injectors.store_slow_down,
    injectors.store_hangs,
)


def measure(plant: Plant, repeat: int) -> dict[str, list[float]]:
    """Seconds until all that was in flight is done, for each fault and each time."""
    found: dict[str, list[float]] = {}
    for fault in FAULTS:
        for _ in range(repeat):
            time.sleep(CALM_SECONDS)
            plant.mill.until(lambda: len(plant.mill.in_flight(JOB)) == len(plant.workers), what="busy workers")
            watch = Recovery(plant.mill, JOB)
            fault(plant)
            seconds = watch.join()
            assert seconds is not None, f"{fault.__name__}: what was in flight never came back\n{plant.mill.logs()}"
            found.setdefault(fault.__name__, []).append(seconds)
            print(f"{time.strftime('%H:%M:%S')} {fault.__name__}: {seconds:.1f} s", flush=True)
    return found


def table(found: dict[str, list[float]]) -> str:
    lines = ["| fault | times | shortest, s | longest, s | limit, s |", "|---|--:|--:|--:|--:|"]
    for name, seconds in found.items():
        limit = LIMITS.get(name)
        told = f"{limit:.0f}" if limit else ""
        lines.append(f"| {name} | {len(seconds)} | {min(seconds):.1f} | {max(seconds):.1f} | {told} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="render with the tiny model")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="promptmill-recovery-"))
    lease = load_settings().worker.lease_seconds
    with GuardedProcesses() as processes:
        services = FaultServices(folder / "services", processes)
        mill = FaultMill(services, processes, folder, "recovery", variables={})
        steps = {} if asked.tiny else {"PROMPTMILL_FLAT_STEP_SECONDS": "0.1"}
        plant = Plant(mill, random.Random(1), lease, TINY if asked.tiny else FLAT, steps, job=JOB)
        plant.add_orchestrator()
        for _ in range(2):
            plant.add_worker()
        mill.submit(prompts(ROWS), JOB)
        mill.wait_for_lease(JOB)
        found = measure(plant, asked.repeat)
        mill.client.cancel(JOB)
    load = psutil.getloadavg()
    print(table(found))
    print(f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {load[2]:.1f}")
    return int(any(max(found[name]) > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
