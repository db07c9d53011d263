"""What the tests of the manifest readers share: write a file, read it, look at rows and faults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.manifests import AuthoredRow, CheckModel, Faults, ManifestOptions, read


class Found(NamedTuple):
    rows: list[AuthoredRow]
    faults: Faults

    @property
    def prompts(self) -> list[str]:
        return [authored.row.prompt for authored in self.rows]

    @property
    def lines(self) -> list[int]:
        return [authored.line for authored in self.rows]

    @property
    def texts(self) -> list[str]:
        """The faults as a user reads them."""
        return [str(fault) for fault in self.faults.kept]


Reader = Callable[..., Found]


def read_bytes(folder: Path, name: str, data: bytes, *, check_model: CheckModel | None = None, **options: Any) -> Found:
    """Read `data` as a manifest of that name; the model is `tiny` unless the options say otherwise."""
    path = folder / name
    path.write_bytes(data)
    options.setdefault("defaults", {"model": "tiny"})
    faults = Faults()
    rows = list(read(path, ManifestOptions(**options), faults, check_model=check_model))
    return Found(rows, faults)
