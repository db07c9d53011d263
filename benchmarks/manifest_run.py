"""One measurement: `python -m benchmarks.manifest_run validate|submit MANIFEST CORE`, figures as JSON."""

import json
import os
import resource
import sys
import time
from pathlib import Path

from orchestrator.client import Client
from orchestrator.manifests.options import ManifestOptions
from orchestrator.request import SubmitRequest


def main(verb: str, path: str, core: str) -> None:
    """Measure, imports and first connection left out."""
    os.sched_setaffinity(0, {int(core)})
    client = Client()
    request = SubmitRequest(path=Path(path), options=ManifestOptions(defaults={"model": "tiny"}))
    client.store.check()
    started, cpu = time.perf_counter(), time.process_time()
    totals = (client.submit_request if verb == "submit" else client.estimate)(request).totals
    found = {
        "rows": totals.rows,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
