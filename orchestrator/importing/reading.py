"""One image file -> the row in it, or why there is none. A pure function of the file: it runs in threads."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from orchestrator.importing.files import name_text
from orchestrator.importing.other_tools import read_foreign
from orchestrator.importing.own import row_values
from orchestrator.importing.settings_of_others import NotTaken
from schemas.errors import InvalidInput
from services.image_metadata.containers import OWN, read_texts
from services.image_metadata.record import ImageRecord, parse_record

PROMPTMILL = "promptmill"
FindingKind = Literal["no_metadata", "unreadable", "not_taken", "missing_input", "incomplete", "renamed"]


class FoundRow(NamedTuple):
    """The row that an image tells of. `record` is ours, None for other tools."""

    file: Path
    tool: str
    values: dict[str, Any]
    left_out: dict[str, str]
    record: ImageRecord | None


class Finding(NamedTuple):
    """One thing to tell about one file or row."""

    file: str
    kind: FindingKind
    message: str


def read_image(path: Path) -> FoundRow | Finding:
    """What an image says of itself. Never raises, whatever the file holds."""
    try:
        texts = read_texts(path).texts
        if OWN in texts:
            record = parse_record(texts[OWN])
            return FoundRow(path, PROMPTMILL, row_values(record), {}, record)
        found = read_foreign(texts)
    except InvalidInput as error:
        return Finding(name_text(path), "unreadable", error.message)
    except NotTaken as error:
        return Finding(name_text(path), "not_taken", str(error))
    except OSError as error:
        return Finding(name_text(path), "unreadable", error.strerror or str(error))
    except (RecursionError, ValueError, MemoryError) as error:
        return Finding(name_text(path), "unreadable", f"its metadata cannot be understood: {type(error).__name__}")
    if found is None:
        return Finding(name_text(path), "no_metadata", "no metadata")
    return FoundRow(path, found.tool, found.row.values, found.row.left_out, None)
