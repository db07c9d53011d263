"""The common ground of every model that promptmill writes or reads."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, and strict about unknown fields: a misspelt field is an error, never silence."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False, hide_input_in_errors=True
    )


class Versioned(Frozen):
    """A model that crosses a process or outlives one: `v` names the shape it was written in.

    The default stays 1 for ever: where `v` is left out, 1 is meant, and a later shape writes its number.
    """

    v: int = 1
