"""`template` of a row, of a document or of `--set`: what it can say."""

from typing import Any

from pydantic import ValidationError

from orchestrator.manifests.expectations import in_words
from schemas.document import Template


class BadSettings(ValueError):
    """`template` itself cannot be used; names its part and says why."""


def read_template(given: Any) -> Template:
    """`template` as it was given: a syntax, or an object.

    Raises:
        BadSettings: it is none.
    """
    try:
        return Template.model_validate({"syntax": given} if isinstance(given, str) else given)
    except ValidationError as error:
        details = error.errors()[0]
        part = ".".join(str(name) for name in details["loc"][:1])
        raise BadSettings(_explained(part, given, details["type"])) from None


def _explained(part: str, given: Any, kind: str) -> str:
    if not isinstance(given, str | dict):
        return "expected dynamic, fill or plain, or an object with syntax"
    if kind == "extra_forbidden":
        return f"{part}: no such setting; there are {', '.join(Template.model_fields)}"
    expected = in_words(Template.model_json_schema()["properties"].get(part, {}))
    if isinstance(given, str):
        return f"expected {expected}; --extra template keeps a column of that name as your own"
    return f"{part}: expected {expected}"
