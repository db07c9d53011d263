"""Images first, then the piece that names them; a row stands in it whole or not at all."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from schemas import keys
from schemas.errors import InvalidInput, OutOfMemory, ServiceError, StoreUnavailable
from schemas.planned import PlannedRow
from schemas.result import RenderInfo, ResultLine
from schemas.task import TaskMessage
from services import jobs
from services.image_metadata.carriers import read
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, planned
from workers.commit import MAX_MESSAGE, Committer
from workers.engines.base import Rendered, Slot

TOKEN = "a" * 16
MESSAGE = TaskMessage(job=JOB, task=3, part=1, offset=0, length=1, attempt=2)
RENDER = RenderInfo(device="d", dtype="t", versions={}, model_source="s", model_revision=None, safety="keep")


@contextmanager
def committer(store: MemoryStore, **changes: Any) -> Iterator[Committer]:
    values: dict[str, Any] = {"worker": "w", "version": "1", "threads": 2, "piece_seconds": 30}
    with Committer(store, MESSAGE, token=TOKEN, **(values | {"on_progress": lambda: None} | changes)) as made:
        yield made


def picture(value: int = 0, **changes: Any) -> Rendered:
    return Rendered(np.full((8, 16, 3), value, np.uint8), **changes)


def add(made: Committer, row: PlannedRow, number: int = 0, image: Rendered | None = None) -> None:
    slot = Slot(row, number, row.seed + number)
    made.add(slot, image or picture(), batch_size=4, place=number, render=RENDER, share=0.5)


def finish(made: Committer, *rows: PlannedRow) -> None:
    for row in rows:
        made.begin(row, {})
        for number in range(row.num_images):
            add(made, row, number)


def lines(store: MemoryStore) -> dict[int, ResultLine]:
    return jobs.task_outcomes(store, JOB, 1, 3)


def pieces(store: MemoryStore) -> list[str]:
    return [key for key in store.objects if "/results/" in key]


class TestPieces:
    def test_a_done_row_names_all_its_images_with_their_hashes(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            finish(made, planned(5, num_images=3))
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        assert (line.index, line.id, line.status, line.token, line.worker) == (5, "row-5", "done", TOKEN, "w")
        assert [image.image for image in line.images] == [0, 1, 2]
        assert [image.seed for image in line.images] == [105, 106, 107]
        assert [(image.batch_size, image.slot) for image in line.images] == [(4, 0), (4, 1), (4, 2)]
        for image in line.images:
            assert image.key is not None
            data = memory_store.objects[image.key]
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (image.sha256, image.bytes)
            assert (image.width, image.height) == (16, 8)
            assert keys.parse_image(image.key)[:4] == (JOB, 1, 5, image.image)
        assert (line.render, line.width, line.height, line.seconds) == (RENDER, 16, 8, 1.5)

    def test_no_piece_is_written_before_the_images_that_it_names(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            finish(made, *(planned(index, num_images=2) for index in range(5)))
            made.write(wait=True)
        puts = [key for verb, key in memory_store.asked if verb == "put"]
        assert ["/results/" in key for key in puts] == [False] * 10 + [True]

    def test_a_row_that_lacks_an_image_stands_in_none(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            made.begin(planned(0, num_images=2), {})
            add(made, planned(0, num_images=2))
            finish(made, planned(1))
            made.write(wait=True)
            assert list(made.committed) == [1]
        assert list(lines(memory_store)) == [1]

    def test_without_waiting_only_rows_whose_images_are_up_are_written(self, memory_store: MemoryStore) -> None:
        slow = threading.Event()

        def wait_for_row_0(verb: str, key: str) -> None:
            if verb == "put" and "/000000-" in key:
                slow.wait(10)

        memory_store.fault = wait_for_row_0
        with committer(memory_store) as made:
            finish(made, planned(0), planned(1))
            until(lambda: made.rows_done == 1)
            made.write(wait=False)
            assert list(lines(memory_store)) == [1]
            slow.set()
            made.write(wait=True)
        assert sorted(lines(memory_store)) == [0, 1]
        assert pieces(memory_store) == [keys.piece(JOB, 1, 3, TOKEN, number) for number in (0, 1)]

    def test_a_row_is_written_once(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            finish(made, planned(0))
            for _ in range(3):
                made.write(wait=True)
        assert len(pieces(memory_store)) == 1

    def test_a_piece_is_due_after_its_seconds_and_not_before(self, memory_store: MemoryStore) -> None:
        with committer(memory_store, piece_seconds=3600) as made:
            finish(made, planned(0))
            until(lambda: made.rows_done == 1)
            made.write_if_due()
            assert pieces(memory_store) == []
        with committer(memory_store, piece_seconds=1e-6) as made:
            finish(made, planned(0))
            until(lambda: made.rows_done == 1)
            made.write_if_due()
            assert len(pieces(memory_store)) == 1

    def test_a_dropped_image_counts_and_has_no_object(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            made.begin(planned(0), {})
            add(made, planned(0), image=picture(flagged=True, dropped=True))
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        image = line.images[0]
        assert (line.status, image.key, image.sha256, image.bytes) == ("done", None, None, None)
        assert (image.flagged, image.dropped) == (True, True)
        assert [key for key in memory_store.objects if "/images/" in key] == []

    def test_what_the_user_should_know_stands_with_the_row(self, memory_store: MemoryStore) -> None:
        with committer(memory_store) as made:
            made.begin(planned(0), {"image": "f" * 64})
            made.warn(planned(0), ("the prompt is cut",))
            add(made, planned(0))
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        assert (line.warnings, line.inputs) == (("the prompt is cut",), {"image": "f" * 64})

    @pytest.mark.parametrize("file_format", ["png", "jpeg", "webp"])
    def test_an_image_carries_its_recipe_and_no_place_in_a_job(
        self, memory_store: MemoryStore, file_format: str
    ) -> None:
        with committer(memory_store) as made:
            finish(made, planned(0, "猫 🐈", format=file_format, extra={"mine": 1}))
            made.write(wait=True)
        (line,) = lines(memory_store).values()
        data = memory_store.objects[line.images[0].key or ""]
        assert "猫 🐈" in str(read(data))
        assert JOB.encode() + b"/" not in data


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


class TestProgress:
    def test_rows_and_images_are_counted_as_they_come_up(self, memory_store: MemoryStore) -> None:
        touched = []
        with committer(memory_store, on_progress=lambda: touched.append(1)) as made:
            finish(made, planned(0, num_images=2), planned(1))
            made.fail(planned(2), InvalidInput("bad"))
            until(lambda: made.images_up == 3)
            assert made.rows_done == 2, "a failed row is not done"
            made.write(wait=True)
            assert (made.rows_done, made.images_up) == (2, 3)
        assert len(touched) == 3 + 1, "each upload and the piece are progress"

    def test_uploads_wait_for_room_so_that_memory_is_bounded(
        self, memory_store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.commit.IMAGES_AHEAD", 2)
        free, added = threading.Event(), []
        memory_store.fault = lambda verb, key: free.wait(10) and None

        def add_all(made: Committer) -> None:
            for index in range(5):
                finish(made, planned(index))
                added.append(index)

        with committer(memory_store, threads=4) as made:
            thread = threading.Thread(target=add_all, args=(made,))
            thread.start()
            until(lambda: len(added) == 2)
            threading.Event().wait(0.05)
            assert len(added) == 2
            free.set()
            thread.join()
            made.write(wait=True)
            assert made.rows_done == 5


def until(happened: Callable[[], object]) -> None:
    for _ in range(2000):
        if happened():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not happen")
