"""Images first, then the piece that names them; a row stands in it whole or not at all."""

import hashlib
import threading

import pytest

from schemas import keys
from schemas.errors import InvalidInput
from services.image_metadata.carriers import read
from tests.commit_steps import RENDER, TOKEN, add, committer, finish, lines, picture, pieces, until
from tests.memory_store import MemoryStore
from tests.small_mill import JOB, planned
from workers.commit import Committer


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
