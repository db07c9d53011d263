"""Faults and warnings of a manifest, collected: all are counted, the first of each kind are kept.

A fault stops a submit; a warning does not, unless `--strict` asks for it. Any stage that holds the collector can add
either:

```python
faults.add(line, "must not be empty", field="prompt")
faults.warn(line, "12 tokens are cut off", field="prompt", value=prompt, kind="longer than the text encoder reads")
```
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from schemas.errors import Fault, FaultGroup, ManifestError

KEEP = 1000
KEEP_OF_A_KIND = 100
VALUE_LENGTH = 80
_MOST_COUNTED = 10_000

Level = Literal["fault", "warning"]


class FaultSink(Protocol):
    """Takes every fault and warning, kept here or not: `orchestrator.manifests.report`."""

    def write(self, level: Level, fault: Fault, kind: str) -> None:
        """One fault or warning."""


class _Told:
    """What was added, or all that is known of it where it is not kept; `rows` as of `Fault`."""

    __slots__ = ("fault", "key", "rows")

    def __init__(self, key: tuple[str | None, str], rows: int | None) -> None:
        self.key = key
        self.rows = rows
        self.fault: Fault | None = None

    def shown(self) -> Fault:
        assert self.fault is not None
        return self.fault if self.rows is None else self.fault.model_copy(update={"rows": self.rows})


class Collected:
    """A bounded collector of one level. Memory does not grow with the number of what is added.

    A kind is a field and what is wrong with it. Of one kind the first `keep_of_a_kind` are kept, so that a fault on
    every line does not hide another one near the end of the file.
    """

    def __init__(self, level: Level, *, keep: int, keep_of_a_kind: int, sink: FaultSink | None) -> None:
        self._level: Level = level
        self._keep = keep
        self._keep_of_a_kind = keep_of_a_kind
        self._sink = sink
        self._kept: list[_Told] = []
        self._kinds: dict[tuple[str | None, str], int] = {}
        self._rows: Counter[tuple[str | None, str]] = Counter()
        self._once: dict[int, _Told] = {}
        self._total = 0

    def add(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
        once: int | None = None,
    ) -> None:
        """Add one.

        Args:
            line: from 1, as an editor counts; None: the whole file.
            field: the field or column; shortened here.
            message: what was expected.
            value: what was found; shortened here. None: nothing to show.
            kind: groups those whose messages differ; default: the message.
            once: a hash of all that it says. Where it was added before, one more row has it, and it is not told again.
        """
        if once is not None and self._counted(once):
            return
        self._total += 1
        if field is not None and (len(field) > VALUE_LENGTH or not field.isprintable()):
            field = shorten(field)
        key = (field, kind or message)
        seen = self._kinds.get(key, 0)
        if seen or len(self._kinds) < self._keep:
            self._kinds[key] = seen + 1
        told = self._new(key, once)
        keep = seen < self._keep_of_a_kind and len(self._kept) < self._keep
        if not keep and self._sink is None:
            return
        shown = None if value is None or value == "" else shorten(value)
        fault = Fault(line=line, field=field, value=shown, message=_printable(message))
        if keep:
            told.fault = fault
            self._kept.append(told)
        if self._sink is not None:
            self._sink.write(self._level, fault, _printable(key[1]))

    def _counted(self, once: int) -> bool:
        """Whether it was told before, to one row less."""
        before = self._once.get(once)
        if before is None:
            return False
        before.rows = (before.rows or 0) + 1
        if before.key in self._kinds:
            self._rows[before.key] += 1
        return True

    def _new(self, key: tuple[str | None, str], once: int | None) -> _Told:
        told = _Told(key, None if once is None else 1)
        if once is not None:
            if key in self._kinds:
                self._rows[key] += 1
            if len(self._once) < _MOST_COUNTED:
                self._once[once] = told
        return told

    @property
    def total(self) -> int:
        """All of them, kept or not."""
        return self._total

    @property
    def kept(self) -> list[Fault]:
        """The first of every kind, in the order of their lines; those of the whole file come first."""
        return sorted((told.shown() for told in self._kept), key=_line)

    @property
    def kinds(self) -> Mapping[tuple[str | None, str], int]:
        """Number by (field, kind), for at most `keep` kinds."""
        return self._kinds

    def groups(self) -> tuple[FaultGroup, ...]:
        """The same by kind, for at most `keep` kinds; the most frequent last, where a terminal's reader looks first."""
        first: dict[tuple[str | None, str], list[Fault]] = {key: [] for key in self._kinds}
        for told in self._kept:
            first[told.key].append(told.shown())
        ordered = sorted(self._kinds.items(), key=lambda pair: pair[1])
        return tuple(
            FaultGroup(
                field=key[0],
                kind=_printable(key[1]),
                count=count,
                first=tuple(sorted(first[key], key=_line)),
                rows=self._rows.get(key),
            )
            for key, count in ordered
        )


class Faults(Collected):
    """The faults of one manifest, and beside them its warnings.

    Args:
        strict: a warning is a fault.
        sink: is told all of both.
    """

    def __init__(
        self,
        *,
        keep: int = KEEP,
        keep_of_a_kind: int = KEEP_OF_A_KIND,
        strict: bool = False,
        sink: FaultSink | None = None,
    ) -> None:
        super().__init__("fault", keep=keep, keep_of_a_kind=keep_of_a_kind, sink=sink)
        self.warnings = Collected("warning", keep=keep, keep_of_a_kind=keep_of_a_kind, sink=sink)
        self._warned: Collected = self if strict else self.warnings

    def warn(
        self,
        line: int | None,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        kind: str | None = None,
        once: int | None = None,
    ) -> None:
        """Add one warning; arguments as of `add`. Say in `kind`, without numbers, what all of its kind have alike."""
        self._warned.add(line, message, field=field, value=value, kind=kind, once=once)

    def extend(self, error: ManifestError) -> None:
        """Add the faults of an error that another part raised."""
        for fault in error.faults:
            self.add(fault.line, fault.message, field=fault.field, value=fault.value)

    def raise_if_any(self, *, hint: str = "") -> None:
        """Raises:
        ManifestError: at least one fault was added.
        """
        if self.total:
            raise ManifestError(
                self.kept, total=self.total, hint=hint, groups=self.groups(), warnings=self.warnings.groups()
            )


def _line(fault: Fault) -> int:
    return fault.line or 0


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
