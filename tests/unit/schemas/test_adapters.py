"""LoRAs and embeddings as a manifest writes them."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.adapters import EmbeddingNames, LoraUse, LoraUses

LORAS: TypeAdapter[tuple[LoraUse, ...]] = TypeAdapter(LoraUses)
NAMES: TypeAdapter[tuple[str, ...]] = TypeAdapter(EmbeddingNames)


@pytest.mark.parametrize(
    "written",
    [
        "detail:0.8, other",
        " detail : 0.8 ,other, ",
        '[{"name": "detail", "weight": 0.8}, "other"]',
        [{"name": "detail", "weight": 0.8}, {"name": "other"}],
        ["detail:0.8", "other"],
        [LoraUse(name="detail", weight=0.8), LoraUse(name="other")],
    ],
    ids=str,
)
def test_a_cell_json_and_objects_say_the_same(written: Any) -> None:
    assert LORAS.validate_python(written) == (LoraUse(name="detail", weight=0.8), LoraUse(name="other", weight=1.0))


def test_one_object_is_a_list_of_one() -> None:
    assert LORAS.validate_python({"name": "a"}) == LORAS.validate_python('{"name": "a"}') == (LoraUse(name="a"),)


@pytest.mark.parametrize(
    "written",
    [
        *("a:b", "a:", ":1", "a:11", "a:-11", "a:nan", "a:inf", "a, a:2", "[", "[1]", "{", "../x", "[" * 5000),
        *(7, True, [[1]], [None], {"name": "a", "scale": 1}, [f"l{number}" for number in range(17)]),
    ],
    ids=lambda written: str(written)[:20],
)
def test_what_names_no_loras_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        LORAS.validate_python(written)


def test_nothing_named_is_nothing() -> None:
    assert LORAS.validate_python("") == LORAS.validate_python([]) == ()


def test_minus_nothing_is_nothing() -> None:
    assert str(LORAS.validate_python("a:-0")[0]) == "a:0"


@pytest.mark.parametrize("written", ["a, b", '["a", "b"]', ["a", "b"]], ids=str)
def test_embeddings(written: Any) -> None:
    assert NAMES.validate_python(written) == ("a", "b")


@pytest.mark.parametrize("written", ["a, a", "a b", 7, [1]], ids=str)
def test_what_names_no_embeddings_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        NAMES.validate_python(written)
