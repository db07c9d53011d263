"""What cannot be encoded fails its row; what cannot be stored ends the task and fails none."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schemas.errors import InvalidInput, OutOfMemory, ServiceError, StoreUnavailable
from schemas.planned import PlannedRow
from tests.commit_steps import add, committer, finish, lines, pieces, until
from tests.memory_store import MemoryStore
from tests.small_mill import planned
from workers.commit import MAX_MESSAGE
from workers.engines.base import Rendered


class TestFailures:
    def test_a_failed_row_names_no_image(self, memory_store: MemoryStore) -> None:
        row = planned(0, num_images=3)
        with committer(memory_store) as made:
            made.begin(row, {})
            add(made, row)
            assert made.is_open(row)
            made.fail(row, OutOfMemory("too large"))
            assert not made.is_open(row)
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        assert line.failure is not None
        assert (line.status, line.images) == ("failed", ())
        assert (line.failure.error_class, line.failure.message, line.failure.attempts) == (
            "out_of_memory",
            "too large",
            3,
        )

    def test_a_row_can_fail_before_it_began(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            made.fail(planned(0), InvalidInput("x" * 10_000))
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        assert line.failure is not None
        assert len(line.failure.message) == MAX_MESSAGE

    @pytest.mark.parametrize(
        "error", [OSError("disk"), ValueError("bad"), MemoryError(), TypeError("odd"), KeyError(1)]
    )
    def test_an_image_that_cannot_be_encoded_fails_its_row_and_no_other(
        self, memory_store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        from workers.encoding import encode

        def fail_row_1(pixels: Any, row: PlannedRow, record: Any) -> bytes:
            if row.index == 1:
                raise error
            return encode(pixels, row, record)

        monkeypatch.setattr("workers.commit.encode", fail_row_1)
        with committer(memory_store) as made:
            finish(made, planned(0), planned(1, num_images=2), planned(2))
            made.check()
            made.write(wait=True)
        found = lines(memory_store)
        assert {index: line.status for index, line in found.items()} == {0: "done", 1: "failed", 2: "done"}
        assert found[1].failure is not None
        assert "cannot be encoded as png" in found[1].failure.message

    def test_an_image_too_large_for_its_format_is_the_manifests_fault(self, memory_store: MemoryStore) -> None:
        row = planned(0, format="webp")
        with committer(memory_store) as made:
            made.begin(row, {})
            add(made, row, image=Rendered(np.zeros((1, 20_000, 3), np.uint8)))
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        assert line.failure is not None
        assert line.failure.error_class == "invalid_input"


class TestOutage:
    def refuse(self, part: str) -> Callable[[str, str], ServiceError | None]:
        return lambda verb, key: StoreUnavailable("away") if verb == "put" and part in key else None

    def test_an_upload_that_fails_ends_the_task_and_fails_no_row(self, memory_store: MemoryStore) -> None:
        memory_store.fault = self.refuse("/images/")
        with committer(memory_store) as made:
            finish(made, planned(0))
            until(lambda: made.images_up == 1)
            with pytest.raises(StoreUnavailable):
                made.check()
            with pytest.raises(StoreUnavailable):
                made.write(wait=True)
        assert pieces(memory_store) == []

    def test_a_piece_that_cannot_be_written_ends_the_task(self, memory_store: MemoryStore) -> None:
        memory_store.fault = self.refuse("/results/")
        with committer(memory_store) as made:
            finish(made, planned(0))
            with pytest.raises(StoreUnavailable):
                made.write(wait=True)
            assert made.committed == {}
            memory_store.fault = lambda verb, key: None
            made.write(wait=True)
        assert list(lines(memory_store)) == [0], "what is finished is not thrown away for it"

    def test_a_piece_that_is_stored_while_its_reply_is_lost_is_never_overwritten(
        self, memory_store: MemoryStore
    ) -> None:
        with committer(memory_store) as made:
            finish(made, planned(0))
            memory_store.lost_reply = self.refuse("/results/")
            with pytest.raises(StoreUnavailable):
                made.write(wait=True)
            memory_store.lost_reply = lambda verb, key: None
            stored = dict(memory_store.objects)
            finish(made, planned(1))
            made.fail(planned(2), InvalidInput("bad"))
            made.write(wait=True)
        assert memory_store.objects.items() >= stored.items()
        found = {index: line.status for index, line in lines(memory_store).items()}
        assert found == {0: "done", 1: "done", 2: "failed"}

    def test_a_full_queue_of_uploads_notices_that_they_fail(
        self, memory_store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One has failed, the others hang: the loop must not wait for room for ever."""
        monkeypatch.setattr("workers.commit.IMAGES_AHEAD", 2)
        free = threading.Event()

        def hang(verb: str, key: str) -> StoreUnavailable | None:
            if "/000000-" in key:
                return StoreUnavailable("away")
            free.wait(10)
            return None

        memory_store.fault = hang
        with committer(memory_store) as made:
            with pytest.raises(StoreUnavailable):
                finish(made, *(planned(index) for index in range(5)))
            free.set()

    def test_leaving_waits_for_nothing_that_has_not_begun(self, memory_store: MemoryStore) -> None:
        begun = threading.Event()

        def slow(verb: str, key: str) -> None:
            if verb == "put":
                begun.set()
                threading.Event().wait(0.2)

        memory_store.fault = slow
        with committer(memory_store, threads=1) as made:
            finish(made, *(planned(index) for index in range(10)))
            begun.wait(10)
        assert 1 <= len(memory_store.objects) <= 2
