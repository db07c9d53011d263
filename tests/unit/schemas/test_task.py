"""Task messages: small, strict, and by reference."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.queues import RENDER_QUEUE, RENDER_TASK, parse_task_id, queue_for, task_id
from schemas.rows import PIPELINES
from schemas.task import TaskMessage, member_name, parse_member

SOUND: dict[str, Any] = {"job": "parti", "task": 7, "part": 0, "offset": 10, "length": 20}
LARGE: dict[str, Any] = {
    "job": "x" * 64,
    "task": 2**31 - 1,
    "row": 9_999,
    "attempt": 99,
    "round_id": "01J00000000000000000000000",
    "part": 99_999,
    "offset": 2**40,
    "length": 2**30,
}


class TestMembers:
    @given(st.integers(0, 2**31), st.none() | st.integers(0, 10**4))
    def test_a_name_is_read_as_it_was_written(self, task: int, row: int | None) -> None:
        assert parse_member(member_name(task, row)) == (task, row)

    @pytest.mark.parametrize("text", ["", "a", "1.", ".1", "1.a", "1.2.3", "1/2"])
    def test_what_is_no_member_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            parse_member(text)

    def test_a_message_names_its_task_or_the_one_row_of_it(self) -> None:
        assert TaskMessage(**SOUND).member == "7"
        assert TaskMessage(**SOUND, row=0).member == "7.0"


class TestMessage:
    def test_it_survives_the_queue(self) -> None:
        for fields in (SOUND, LARGE):
            message = TaskMessage(**fields)
            sent = orjson.loads(orjson.dumps(message.model_dump(exclude_defaults=True)))
            assert TaskMessage.model_validate(sent) == message

    def test_it_is_small_whatever_it_names(self) -> None:
        assert len(orjson.dumps(TaskMessage(**LARGE).model_dump(exclude_defaults=True))) < 260
        assert len(orjson.dumps(TaskMessage(**SOUND).model_dump(exclude_defaults=True))) < 80

    @pytest.mark.parametrize(
        "junk",
        [
            {"task": -1},
            {"task": "seven"},
            {"task": 2**31},
            {"task": 1.5},
            {"row": -1},
            {"length": 0},
            {"length": 2**31},
            {"offset": -1},
            {"part": -1},
            {"job": "../../etc"},
            {"job": "a/b"},
            {"job": ""},
            {"job": "a" * 65},
            {"job": None},
            {"round_id": "../x"},
            {"v": 2},
            {"prompt": "a cat"},
        ],
    )
    def test_junk_is_refused(self, junk: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            TaskMessage.model_validate(SOUND | junk)

    @pytest.mark.parametrize("name", sorted(SOUND))
    def test_what_it_needs_must_be_there(self, name: str) -> None:
        with pytest.raises(ValidationError):
            TaskMessage.model_validate({key: value for key, value in SOUND.items() if key != name})


class TestQueue:
    def test_the_queue_tells_which_members_wait_in_it(self) -> None:
        assert parse_task_id(task_id(TaskMessage(**SOUND, row=3, attempt=2))) == ("parti", "7.3")
        assert parse_task_id(task_id(TaskMessage(**LARGE))) == ("x" * 64, f"{2**31 - 1}.9999")

    @pytest.mark.parametrize("text", ["", "a", "a/b", "a/b/c/d", "ba5eba11-0000-0000-0000-000000000000"])
    def test_an_id_of_somebody_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="unpack"):
            parse_task_id(text)

    def test_every_worker_can_render_everything(self) -> None:
        assert {queue_for(pipeline, "any") for pipeline in PIPELINES} == {RENDER_QUEUE}
        assert RENDER_TASK.startswith("promptmill.")
