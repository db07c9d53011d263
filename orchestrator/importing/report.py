"""What an import came to."""

from collections import Counter

from pydantic import Field

from orchestrator.importing.reading import Finding, FindingKind
from schemas.base import Frozen

SHOWN = 100


class LeftOut(Frozen):
    """A setting of another tool that no field holds."""

    name: str
    images: int
    example: str


class ImportReport(Frozen):
    """Counts, and the first hundred findings of each kind."""

    files: int = Field(description="images that were looked at")
    tools: dict[str, int] = Field(description="what wrote their metadata -> images")
    rows: int = Field(description="rows of the manifest")
    images: int = Field(description="images that these rows make")
    copies: int = Field(description="files whose image was seen already")
    counts: dict[FindingKind, int]
    findings: tuple[Finding, ...]
    left_out: tuple[LeftOut, ...]
    unknown_models: dict[str, int] = Field(description="named, and not in the catalogue -> images")
    inputs: int = Field(description="different input images that the rows name by content")


class Tally:
    """Collects what an import meets; memory is bounded."""

    def __init__(self) -> None:
        self.files = self.rows = self.images = self.copies = self.inputs = 0
        self.tools: Counter[str] = Counter()
        self.unknown_models: Counter[str] = Counter()
        self._counts: Counter[FindingKind] = Counter()
        self._findings: list[Finding] = []
        self._left_out: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def find(self, finding: Finding) -> None:
        """Count a finding; the first ones of each kind are kept."""
        self._counts[finding.kind] += 1
        if self._counts[finding.kind] <= SHOWN:
            self._findings.append(finding)

    def leave_out(self, settings: dict[str, str]) -> None:
        """Count settings that no field holds."""
        for name, value in settings.items():
            if name in self._left_out or len(self._left_out) < 10 * SHOWN:
                self._left_out[name] += 1
                self._examples.setdefault(name, value)

    def report(self) -> ImportReport:
        """What was met so far."""
        return ImportReport(
            files=self.files,
            tools=dict(self.tools.most_common()),
            rows=self.rows,
            images=self.images,
            copies=self.copies,
            counts=dict(self._counts),
            findings=tuple(self._findings),
            left_out=tuple(
                LeftOut(name=name, images=count, example=self._examples[name])
                for name, count in self._left_out.most_common()
            ),
            unknown_models=dict(self.unknown_models.most_common(SHOWN)),
            inputs=self.inputs,
        )
