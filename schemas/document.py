"""A document as authored: rows, their defaults, and a parameter space that rows are multiplied by.

The shapes of YAML and JSON manifests. A row in one has the fields of `schemas.rows`, columns of the user's own, and
the keys of `RowKeys`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.base import Frozen

TemplateSyntax = Literal["dynamic", "fill", "plain"]
TemplateMode = Literal["random", "combinatorial", "cyclical"]
MOST_PROMPTS = 250_000
SCHEMA_KEY = "$schema"  # by which an editor finds the schema of a JSON document; no part of the manifest

RangeText = Annotated[
    str, Field(description="numbers, inclusive: 1-10, 0-100:25, 0.5-1.0:0.1, 1-5,10", examples=["1-10", "0.5-1.0:0.1"])
]
SpaceValues = Annotated[
    list[Any] | RangeText | int | float | bool,
    Field(description="the values that a field takes, one after the other: a list, or a range of numbers"),
]
Space = Annotated[
    dict[str, SpaceValues],
    Field(description="fields, or columns of your own, and the values that they take: a row for every combination"),
]
Combine = Annotated[
    str,
    Field(
        description="how the names of the space are combined: a * b is every pair, (a, b) goes through both together",
        examples=["scheduler * guidance_scale", "(width, height) * seed"],
    ),
]


class Template(Frozen):
    """What the prompts of a row are made from."""

    syntax: TemplateSyntax = Field(
        description="dynamic: {a|b}, {2$$a|b}, __wildcard__; fill: {name} is a column of your own; plain: text as it is"
    )
    mode: TemplateMode = Field("random", description="of dynamic: which of its prompts a template gives")
    count: int | None = Field(
        None,
        ge=1,
        le=MOST_PROMPTS,
        description="prompts of a row; default: 1 (random), all (combinatorial), until they repeat (cyclical)",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="of random: another seed, other prompts")
    wildcards: str | None = Field(
        None,
        min_length=1,
        max_length=2048,
        description="folder with the lists that __name__ stands for; default: wildcards, beside the manifest",
    )


class RowKeys(Frozen):
    """What a row of a document can have beside its fields."""

    space: Space | None = Field(
        None, description="of this row, beside the document's; a name in both: the row's counts"
    )
    combine: Combine | None = None
    template: Template | TemplateSyntax | None = Field(None, description="how its prompt is to be read; default: plain")


class Document(Frozen):
    """A YAML or JSON manifest. A bare list of rows is one as well."""

    defaults: dict[str, Any] = Field(default_factory=dict, description="values for rows that give none")
    space: Space = Field(default_factory=dict, description="of all rows; a row that gives a value itself keeps it")
    combine: Combine | None = None
    template: Template | TemplateSyntax | None = None
    rows: list[dict[str, Any] | str] | None = Field(
        None, description="a row each, or its prompt alone; may be left out where defaults and space make one"
    )
