"""What a prompt with weights comes to, and what is said about one that was not understood."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# Deeper than anybody writes by hand; what reads prompts calls itself for every level.
MAX_DEPTH = 32
# Every part below weight 1 costs a run of the text encoder.
MAX_PARTS = 300
MAX_WEIGHT = 10.0


class Remark(NamedTuple):
    """Something to tell about a prompt. `kind` groups remarks whose messages differ."""

    level: Literal["fault", "warning"]
    message: str
    kind: str


class Part(NamedTuple):
    """A run of text with one weight; 1 is plain."""

    text: str
    weight: float


@dataclass(frozen=True)
class WeightedPrompt:
    """A prompt, taken apart.

    Attributes:
        segments: parts in order; each segment is read by the text encoder on its own.
        remarks: what could not be expressed, or must not be rendered.
    """

    segments: tuple[tuple[Part, ...], ...]
    remarks: tuple[Remark, ...] = field(default=())

    @property
    def text(self) -> str:
        """All of it without weights."""
        return " ".join("".join(part.text for part in segment).strip() for segment in self.segments).strip()


def fault(message: str, kind: str = "") -> Remark:
    """A remark that must be mended before anything is rendered."""
    return Remark("fault", message, kind or message)


def warning(message: str, kind: str = "") -> Remark:
    """A remark that its row renders in spite of."""
    return Remark("warning", message, kind or message)
