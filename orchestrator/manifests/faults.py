"""Faults in a manifest, collected: all are counted, the first are kept."""

from collections.abc import Mapping
from typing import Any

from schemas.errors import Fault, ManifestError

KEEP = 1000
KEEP_OF_A_KIND = 100
VALUE_LENGTH = 80


class Faults:
    """A bounded collector. Memory does not grow with the number of faults.

    A kind is a field and what is wrong with it. Of one kind the first `keep_of_a_kind` are kept, so that a fault on
    every line does not hide another one near the end of the file.
    """

    def __init__(self, *, keep: int = KEEP, keep_of_a_kind: int = KEEP_OF_A_KIND) -> None:
        self._keep = keep
        self._keep_of_a_kind = keep_of_a_kind
        self._kept: list[Fault] = []
        self._kinds: dict[tuple[str | None, str], int] = {}
        self._total = 0

    def add(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
    ) -> None:
        """Add one fault.

        Args:
            line: from 1, as an editor counts; None: the whole file.
            field: the field or column; shortened here.
            message: what was expected.
            value: what was found; shortened here. None: nothing to show.
            kind: groups faults whose messages differ; default: the message.
        """
        self._total += 1
        field = None if field is None else shorten(field)
        key = (field, kind or message)
        seen = self._kinds.get(key, 0)
        if seen or len(self._kinds) < self._keep:
            self._kinds[key] = seen + 1
        if seen < self._keep_of_a_kind and len(self._kept) < self._keep:
            shown = None if value is None or value == "" else shorten(value)
            self._kept.append(Fault(line=line, field=field, value=shown, message=_printable(message)))

    def extend(self, error: ManifestError) -> None:
        """Add the faults of an error that another part raised."""
        for fault in error.faults:
            self.add(fault.line, fault.message, field=fault.field, value=fault.value)

    @property
    def total(self) -> int:
        """All faults, kept or not."""
        return self._total

    @property
    def kept(self) -> list[Fault]:
        """The first faults of every kind, in the order of their lines; those of the whole file come first."""
        return sorted(self._kept, key=lambda fault: fault.line or 0)

    @property
    def kinds(self) -> Mapping[tuple[str | None, str], int]:
        """Number of faults by (field, kind), for at most `keep` kinds."""
        return self._kinds

    def raise_if_any(self, *, hint: str = "") -> None:
        """Raises:
        ManifestError: at least one fault was added.
        """
        if self._total:
            raise ManifestError(self.kept, total=self._total, hint=hint)


def shorten(value: Any) -> str:
    """A value as a message shows it: on one line, without control characters, 80 characters at most."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    # Cut before escaping: a value can be megabytes long.
    text = value[: VALUE_LENGTH + 1] if isinstance(value, str) else str(value)
    text = _printable(text)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _printable(text: str) -> str:
    """Nothing that a terminal would obey, or that shows text in another order."""
    return text if text.isprintable() else "".join(m if m.isprintable() else ascii(m)[1:-1] for m in text)
