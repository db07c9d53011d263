"""Records whose prompt is a template -> records with prompts.

The random choices of a template depend on `seed` of the template and on the row's id, or its number where it has none;
never on the job. The same manifest gives the same prompts, and in a sweep every combination has the same ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from itertools import islice, repeat, takewhile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from orchestrator.manifests.faults import Faults, shorten
from orchestrator.manifests.records import Produced, Values
from orchestrator.manifests.templates.fill import BadTemplate, filled
from orchestrator.manifests.templates.settings import BadSettings, read_template
from schemas.document import MOST_PROMPTS, Template, TemplateMode

if TYPE_CHECKING:
    from orchestrator.manifests.templates.dynamic import Wildcards

DEFAULT_WILDCARDS = "wildcards"
# Prompts of one row that are kept for its other combinations.
_MOST_KEPT = 10_000
_TEXTS = ("prompt", "negative_prompt")
_END = object()

Pair = tuple[str, str]
"""A prompt and its negative prompt."""


class Templates:
    """Makes the prompts of a manifest's templates.

    Args:
        default: `template` of rows that give none; None: their prompt is text.
        folder: what a folder of wildcards is relative to.
    """

    def __init__(self, default: Any, folder: Path, faults: Faults) -> None:
        self._default = default
        self._folder = folder
        self._faults = faults
        self._wildcards: dict[Path, Wildcards] = {}
        self._kept: tuple[tuple[Any, ...], list[Pair | None]] | None = None

    @property
    def by_default(self) -> bool:
        """Whether rows that say nothing have a template as well."""
        return self._default is not None

    def of(self, record: Produced) -> Iterator[Values]:
        """A record as it is, or those that its template makes of it."""
        line, values, extra, coordinates = record[:4]
        given = self._default if record.template is None else record.template
        if given is None:
            yield line, values, extra, coordinates
            return
        try:
            template = read_template(given)
        except BadSettings as error:
            self._faults.add(line, str(error), field="template", value=given)
            return
        if template.syntax == "dynamic":
            yield from self._dynamic(record, template)
        elif template.syntax == "plain":
            yield line, values, extra, coordinates
        elif (made := self._filled(line, values, extra or {})) is not None:
            yield line, values | made, extra, coordinates

    def _filled(self, line: int, values: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, str] | None:
        """Both prompts; None where one has a fault."""
        made = {}
        for field in _TEXTS:
            text = values.get(field)
            if isinstance(text, str):
                try:
                    made[field] = filled(text, columns)
                except BadTemplate as error:
                    self._faults.add(line, str(error), field=field, value=text)
                    return None
        return made

    def _dynamic(self, record: Produced, template: Template) -> Iterator[Values]:
        line, values, extra, coordinates = record[:4]
        single = template.mode == "random" and template.count in (None, 1)
        number = repeated = 0
        for pair in self._pairs(record, template):
            if pair is None:
                repeated += 1
                continue
            found = values | {field: text for field, text in zip(_TEXTS, pair, strict=True) if text}
            if single:
                yield line, found, extra, coordinates
                continue
            if found.get("id") is not None:
                found["id"] = f"{found['id']}-{number:06d}"
            yield line, found, extra, {**(coordinates or {}), "template": number}
            number += 1
        if repeated:
            told = "1 prompt" if repeated == 1 else f"{repeated:,} prompts"
            message = f"{told} of this template came before in it, and {'was' if repeated == 1 else 'were'} left out"
            kind = "a template gives prompts more than once"
            self._faults.warn(line, message, field="prompt", value=values.get("prompt"), kind=kind)

    def _pairs(self, record: Produced, template: Template) -> Iterator[Pair | None]:
        """Prompts and negative prompts; None in the place of a pair that came before.

        What one row of a sweep has is kept for its next combination.
        """
        texts = tuple(str(record.values.get(field) or "") for field in _TEXTS)
        key = (template, texts, record.key)
        if self._kept is not None and self._kept[0] == key:
            yield from self._kept[1]
            return
        kept: list[Pair | None] = []
        try:
            for pair in self._made(template, texts[0], texts[1], record.key):
                if len(kept) <= _MOST_KEPT:
                    kept.append(pair)
                yield pair
            if not kept:
                raise _Failed("prompt", "it gives no prompt (# begins a comment in this syntax)")
        except _Failed as error:
            self._faults.add(record.line, str(error), field=error.field, value=record.values.get(error.field))
            return
        if len(kept) <= _MOST_KEPT:
            self._kept = key, kept

    def _made(self, template: Template, text: str, negative: str, key: str) -> Iterator[Pair | None]:
        seed = blake2b(f"{template.seed}\0{key}".encode("utf-8", "replace"), digest_size=8).digest()
        rand = Random(int.from_bytes(seed, "big"))  # noqa: S311 - which prompts a template gives is no secret
        make = partial(_prompts, template.mode, self._lists(template), rand)
        pairs: Iterator[Pair]
        if template.mode == "combinatorial":
            pairs = ((prompt, other) for prompt in make("prompt", text) for other in make("negative_prompt", negative))
        else:
            pairs = zip(make("prompt", text), make("negative_prompt", negative), strict=False)
        count = template.count or (1 if template.mode == "random" else None)
        found = islice(_distinct(pairs), count)
        if count is None and template.mode == "cyclical":
            # One whole cycle: until one comes that came before.
            yield from takewhile(lambda pair: pair is not None, islice(found, MOST_PROMPTS))
            return
        yield from islice(found, MOST_PROMPTS)
        if count is None and next(found, _END) is not _END:
            raise _Failed("prompt", f"more than {MOST_PROMPTS:,} prompts: template.count takes the first of them")

    def _lists(self, template: Template) -> "Wildcards":
        from orchestrator.manifests.templates.dynamic import Wildcards  # lazy: dynamicprompts is slow to import

        folder = self._folder / (template.wildcards or DEFAULT_WILDCARDS)
        if folder not in self._wildcards:
            there = folder.is_dir()
            if template.wildcards and not there:
                raise _Failed("template", f"wildcards: no such folder as {shorten(str(folder))}")
            self._wildcards[folder] = Wildcards(folder if there else None)
        return self._wildcards[folder]


class _Failed(BadTemplate):
    """A template that cannot be used, and the field it is in."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _prompts(mode: TemplateMode, wildcards: "Wildcards", rand: Random, field: str, text: str) -> Iterator[str]:
    """The prompts of one field. An empty one is what it is, once or for ever."""
    from orchestrator.manifests.templates.dynamic import prompts  # lazy: dynamicprompts is slow to import

    try:
        if text.strip():
            yield from prompts(text, mode, wildcards, rand)
        else:
            yield from [text] if mode == "combinatorial" else repeat(text)
    except BadTemplate as error:
        raise _Failed(field, str(error)) from None


def _distinct(pairs: Iterable[Pair]) -> Iterator[Pair | None]:
    """Pairs as they come, None in the place of one that came before."""
    seen: set[bytes] = set()
    for pair in pairs:
        digest = blake2b("\0".join(pair).encode("utf-8", "surrogatepass"), digest_size=12).digest()
        yield None if digest in seen else pair
        seen.add(digest)
