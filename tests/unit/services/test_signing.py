"""Signed messages: who has the key is heard, and nobody else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from schemas.task import TaskMessage
from services.settings import RedisSettings
from services.signing import FIELD, MessageSigner, NotSigned

KEY = MessageSigner(SecretStr("a key of enough letters"))
OTHER = MessageSigner(SecretStr("another key of as many"))
OPEN = MessageSigner(None)
MESSAGE = TaskMessage(job="parti", task=7, part=0, offset=10, length=20)

messages = st.builds(
    TaskMessage,
    job=st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True),
    task=st.integers(0, 2**31 - 1),
    row=st.none() | st.integers(0, 10**6),
    attempt=st.integers(0, 9),
    round_id=st.none() | st.just("0" * 26),
    part=st.integers(0, 10**6),
    offset=st.integers(0, 10**12),
    length=st.integers(1, 1 << 30),
)


@given(messages)
def test_what_one_seals_another_with_the_key_opens(message: TaskMessage) -> None:
    assert KEY.opened(KEY.sealed(message)) == message
    assert OPEN.opened(OPEN.sealed(message)) == message


@given(messages, messages)
def test_a_signature_is_of_one_message(one: TaskMessage, other: TaskMessage) -> None:
    moved = OPEN.sealed(other) | {FIELD: KEY.sealed(one)[FIELD]}
    if one == other:
        assert KEY.opened(moved) == one
        return
    with pytest.raises(NotSigned):
        KEY.opened(moved)


@pytest.mark.parametrize(
    "changes", [{"task": 8}, {"offset": 11}, {"length": 21}, {"job": "partj"}, {"attempt": 1}, {"row": 0}]
)
def test_a_changed_field_breaks_it(changes: dict[str, Any]) -> None:
    with pytest.raises(NotSigned):
        KEY.opened(KEY.sealed(MESSAGE) | changes)


@pytest.mark.parametrize("signature", [None, "", "0" * 64, 7, ["x"], {"a": 1}, "ü" * 32, OTHER.sealed(MESSAGE)[FIELD]])
def test_anything_else_in_its_place_is_none(signature: Any) -> None:
    with pytest.raises(NotSigned):
        KEY.opened(OPEN.sealed(MESSAGE) | {FIELD: signature})


def test_without_a_signature_it_is_refused_where_there_is_a_key() -> None:
    with pytest.raises(NotSigned):
        KEY.opened(OPEN.sealed(MESSAGE))


def test_a_worker_without_a_key_takes_signed_messages_too() -> None:
    assert OPEN.opened(KEY.sealed(MESSAGE)) == MESSAGE


def test_what_is_no_message_is_told_as_such() -> None:
    for signer in (KEY, OPEN):
        with pytest.raises(ValidationError):
            signer.opened({"job": "../x", FIELD: "0"})


def test_the_key_stands_nowhere_in_what_is_sent_or_shown() -> None:
    settings = RedisSettings(signing_key=SecretStr("a canary in the mine"))
    assert "canary" not in repr(settings) + str(MessageSigner(settings.signing_key).sealed(MESSAGE))
    with pytest.raises(ValidationError):
        RedisSettings(signing_key=SecretStr("short"))
