"""How fast manifests are read: `python -m benchmarks.manifests [--rows 1000000] [--runs 3]`.

The same rows as JSON Lines, CSV and Parquet, and a ten-line YAML document that sweeps as many combinations. Each is
validated, and submitted to a real S3 endpoint on this machine; every measurement is a process of its own, held to one
core (the S3 endpoint has the others). Of some runs the best counts, as others use the machine too. Printed for each:

- rows/s by the clock, and rows/s of processor time, which other load changes less;
- the largest resident memory, and how much more twice the rows take (with `--twice`).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.manifest_files import write
from services.embedded.processes import GuardedProcesses
from services.embedded.stack import start_local_services
from services.settings import as_environment, load_settings

FORMATS = ("jsonl", "csv", "parquet", "yaml")
VERBS = ("validate", "submit")
HEAD = """\
| manifest |      rows | verb     |  rows/s | of jsonl | rows/s of CPU | memory MB |
|:---------|----------:|:---------|--------:|---------:|--------------:|----------:|"""


class Bench:
    """Measures in processes of their own; `environment` leads them to the S3 endpoint."""

    def __init__(self, environment: dict[str, str], runs: int, core: int) -> None:
        self._environment = environment
        self._runs = runs
        self._core = core

    def best(self, verb: str, path: Path) -> dict[str, float]:
        """The run with the least time by the clock; memory is the largest of all."""
        found = [self._run(verb, path) for _ in range(self._runs)]
        memory = max(run["megabytes"] for run in found)
        cpu = min(run["cpu_seconds"] for run in found)
        return min(found, key=lambda run: run["seconds"]) | {"megabytes": memory, "cpu_seconds": cpu}

    def _run(self, verb: str, path: Path) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.manifest_run", verb, str(path), str(self._core)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{verb} {path}:\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout)
        return found


def line(path: Path, verb: str, found: dict[str, float], of: float) -> str:
    """A row of the table."""
    rate, cpu = found["rows"] / found["seconds"], found["rows"] / found["cpu_seconds"]
    return (
        f"| {path.suffix[1:]:<8} | {found['rows']:>9,.0f} | {verb:<8} | {rate:>7,.0f} | {rate / of:>8.2f} "
        f"| {cpu:>13,.0f} | {found['megabytes']:>9,.0f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="of each; the best counts")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS)
    parser.add_argument("--twice", action="store_true", help="JSON Lines of twice the rows as well, for their memory")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="that the measured process has")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="promptmill-bench-") as folder, GuardedProcesses() as processes:
        settings = load_settings(**start_local_services(Path(folder) / "services", processes))
        bench = Bench(os.environ | as_environment(settings), given.runs, given.core)
        print(HEAD, flush=True)
        rates: dict[str, float] = {}
        for suffix in given.formats:
            path = write(Path(folder) / f"m.{suffix}", given.rows)
            for verb in given.verbs:
                found = bench.best(verb, path)
                rates.setdefault(verb, found["rows"] / found["seconds"])
                print(line(path, verb, found, rates[verb]), flush=True)
            path.unlink()
        if given.twice:
            path = write(Path(folder) / "twice.jsonl", 2 * given.rows)
            for verb in given.verbs:
                found = bench.best(verb, path)
                print(line(path, verb, found, rates[verb]), flush=True)


if __name__ == "__main__":
    main()
