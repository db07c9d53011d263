"""Coverage-guided fuzzing of the manifest readers, by hand:

    pip install atheris
    python -m tests.fuzz.readers yaml -max_total_time=600 -rss_limit_mb=1024 -timeout=20

The first argument is a format, or `template` for prompts that are templates; the rest are libFuzzer's. A folder named
among them collects inputs that reach new code. What is found becomes a case of the tests in
`tests/unit/orchestrator/manifests`.
"""

import logging
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["orchestrator.manifests", "dynamicprompts", "yaml"]):
    from orchestrator.manifests import FORMATS, Faults, ManifestOptions, ReadLimits, read
    from orchestrator.manifests.templates import dynamic  # noqa: F401 - instrumented with the rest

LIMITS = ReadLimits(rows=2000, document_values=20_000, total_bytes=2**20, document_bytes=2**20)
TEMPLATE = {"syntax": "dynamic", "mode": "combinatorial", "count": 50}


def main(arguments: list[str]) -> None:
    """Fuzz one format until libFuzzer ends."""
    wanted = arguments[1] if len(arguments) > 1 else ""
    if wanted not in (*FORMATS, "template"):
        raise SystemExit(f"the first argument is one of {', '.join(FORMATS)}, template")
    logging.disable(logging.WARNING)
    defaults = {"model": "tiny"} | ({"template": TEMPLATE} if wanted == "template" else {})
    options = ManifestOptions("text" if wanted == "template" else wanted, defaults=defaults, limits=LIMITS)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest"

        def one_input(data: bytes) -> None:
            path.write_bytes(data)
            faults = Faults()
            rows = sum(1 for _ in read(path, options, faults))
            assert rows or faults.total, "neither rows nor faults"
            assert all(str(fault).isprintable() for fault in faults.kept)

        atheris.Setup([arguments[0], *arguments[2:]], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
