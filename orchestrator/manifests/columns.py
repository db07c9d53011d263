"""Column names -> fields of ours and columns of the user's own.

The decision is made once for a set of names and remembered: rows of one manifest share a few sets.
"""

from typing import NamedTuple

from orchestrator.manifests.faults import Faults, shorten
from orchestrator.manifests.names import BATCH_SIZE, FOREIGN, ITERATIONS, field_called, near_field, near_name
from orchestrator.manifests.options import ManifestOptions

MOST_COLUMNS = 1000
# Columns of all remembered plans together.
_MOST_REMEMBERED = 100_000
# Looking for a near name takes a fraction of a millisecond; a file with more names than this is no manifest.
_MOST_NAMES = 10_000
# Two columns of another tool that give one field of ours together.
_MULTIPLIED = {ITERATIONS, BATCH_SIZE}


class Problem(NamedTuple):
    column: str
    message: str


class ColumnPlan(NamedTuple):
    """What becomes of each column. Positions count from 0."""

    fields: tuple[tuple[int, str, str], ...]
    """(position, column, field)"""
    extra: tuple[tuple[int, str], ...]
    """(position, column)"""
    unnamed: tuple[int, ...]
    problems: tuple[Problem, ...]
    plain: bool
    """Every column is a field of the same name."""
    direct: bool
    """Every column is a field of the same name or one of the user's own."""
    verbatim: tuple[str, ...]
    """Columns whose numbers are kept as they are written: the user's own, and that of the ids."""


class Columns:
    """Resolves column names under one set of options."""

    def __init__(self, options: ManifestOptions) -> None:
        self._map = dict(options.column_map)
        self._by_column = {column: field for field, column in options.column_map.items()}
        self._keep = options.extra_columns
        self._plans: dict[tuple[str, ...], ColumnPlan] = {}
        self._remembered = 0
        self._near: dict[str, str | None] = {}
        self._too_many_names = False
        self._unseen = set(self._by_column)

    def plan(self, names: tuple[str, ...]) -> ColumnPlan:
        """What becomes of columns of these names."""
        found = self._plans.get(names)
        if found is None:
            self._remembered += len(names)
            if self._remembered > _MOST_REMEMBERED:
                self._plans.clear()
                self._remembered = len(names)
            found = self._plans[names] = self._resolve(names)
        return found

    def table(self, names: tuple[str, ...], line: int, faults: Faults, *, remedy: str = "") -> ColumnPlan | None:
        """The plan of a table whose header stands on `line`; None where its rows mean nothing without a new header."""
        if len(names) > MOST_COLUMNS:
            faults.add(line, f"{len(names):,} columns; at most {MOST_COLUMNS:,} are accepted")
            return None
        plan = self.plan(names)
        for problem in plan.problems:
            faults.add(line, problem.message, field=problem.column)
        missing = self._report_unseen(line, faults, names)
        if not plan.fields and not missing:
            shown = ", ".join(shorten(name) for name in names[:10])
            faults.add(line, f"no column is a field of ours; the header names {shown}{remedy}")
        return None if missing or not plan.fields else plan

    def finish(self, faults: Faults) -> None:
        """Add what is known only after the last row of a manifest whose rows name their own columns."""
        self._report_unseen(None, faults, ())
        if self._too_many_names:
            faults.add(None, f"more than {_MOST_NAMES:,} different column names")

    def _report_unseen(self, line: int | None, faults: Faults, names: tuple[str, ...]) -> bool:
        """Add a fault for each column of `--map` that never came; whether there is one."""
        for column in sorted(self._unseen):
            near = near_name(column, list(names))
            among = f"did you mean {near}?" if near else f"the columns are {', '.join(map(shorten, names[:10]))}"
            remedy = f": {among}" if names else " in any row"
            faults.add(line, f"--map {self._by_column[column]}={column}: no such column{remedy}", field=column)
        return bool(self._unseen)

    def _resolve(self, names: tuple[str, ...]) -> ColumnPlan:
        self._unseen.difference_update(names)
        taken: dict[str, tuple[str, str]] = {}
        seen: set[str] = set()
        fields: list[tuple[int, str, str]] = []
        extra, problems = [], []
        for position, column in enumerate(names):
            field = self._field(column)
            if column and column in seen:
                problems.append(Problem(column, "the column stands twice in the header"))
                continue
            seen.add(column)
            if field is None:
                if column:
                    extra.append((position, column))
                continue
            ours = FOREIGN.get(field, field)
            other, other_field = taken.setdefault(ours, (column, field))
            if other is not column and {field, other_field} != _MULTIPLIED:
                problems.append(Problem(column, f"{other!r} and {column!r} both give {ours}"))
            else:
                fields.append((position, column, field))
        fields = _simplified(fields)
        guesses, kept = self._near_columns(extra)
        problems.extend(_near_problem(column, field) for _, column, field in guesses)
        # A guess is a fault, so nothing is sent; using it lets the values below it be checked all the same.
        fields += [guess for guess in guesses if guess[2] not in taken]
        unnamed = tuple(position for position, column in enumerate(names) if not column)
        direct = len(fields) + len(kept) == len(names) and all(column == field for _, column, field in fields)
        problems = list(dict.fromkeys(problems))
        verbatim = *(column for _, column, field in fields if field == "id"), *(column for _, column in kept)
        return ColumnPlan(tuple(fields), tuple(kept), unnamed, tuple(problems), direct and not kept, direct, verbatim)

    def _field(self, column: str) -> str | None:
        if column in self._by_column:
            return self._by_column[column]
        return None if column in self._keep else field_called(column)

    def _near_columns(self, columns: list[tuple[int, str]]) -> tuple[list[tuple[int, str, str]], list[tuple[int, str]]]:
        guesses, kept = [], []
        for position, column in columns:
            near = None if column in self._keep else self._near_field(column)
            if near is None:
                kept.append((position, column))
            else:
                guesses.append((position, column, near))
        return guesses, kept

    def _near_field(self, column: str) -> str | None:
        if column not in self._near:
            if len(self._near) >= _MOST_NAMES:
                self._too_many_names = True
                return None
            # Names this long are no slips of ours, and comparing them costs time.
            self._near[column] = near_field(column) if len(column) <= 40 else None
        return self._near[column]


def _simplified(fields: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """One of the two that multiply, alone, is the number of images."""
    both = {field for _, _, field in fields} >= _MULTIPLIED
    return [
        (at, column, FOREIGN[field] if field in _MULTIPLIED and not both else field) for at, column, field in fields
    ]


def _near_problem(column: str, field: str) -> Problem:
    name = shorten(column)
    remedy = f"--map {field}={name} uses it, --extra {name} keeps it as your own"
    return Problem(column, f"did you mean {field}? {remedy}")
