"""Which images share a denoising loop."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from schemas.errors import ModelUnavailable
from schemas.planned import PlannedRow
from schemas.result import RenderInfo
from tests.small_mill import planned
from workers.batches import BatchSizes, cut
from workers.engines.base import Rendered, Slot


class Room:
    """Says how many fit, and renders nothing."""

    def __init__(self, fits: int) -> None:
        self.fits = fits

    def batch_limit(self, row: PlannedRow) -> int:
        if row.model == "broken":
            raise ModelUnavailable("broken")
        return self.fits

    def load(self, model: str, on_progress: Callable[[], None]) -> None:
        raise NotImplementedError

    def apart(self, slots: Sequence[Slot]) -> list[list[Slot]]:
        raise NotImplementedError

    def render(self, slots: Sequence[Slot], on_step: Callable[[], None]) -> list[Rendered]:
        raise NotImplementedError

    def warnings(self, row: PlannedRow) -> tuple[str, ...]:
        raise NotImplementedError

    def info(self, row: PlannedRow) -> RenderInfo:
        raise NotImplementedError


def slots(*rows: PlannedRow) -> list[Slot]:
    return [Slot(row, number, row.seed + number) for row in rows for number in range(row.num_images)]


def sizes_of(batches: Iterator[list[Slot]]) -> list[int]:
    return [len(batch) for batch in batches]


class TestCut:
    def test_images_of_many_rows_and_many_of_one_share_a_loop(self) -> None:
        rows = [planned(0, num_images=5), planned(1), planned(2), planned(3, num_images=2)]
        batches = list(cut(slots(*rows), BatchSizes(Room(4))))
        assert [len(batch) for batch in batches] == [4, 4, 1]
        assert [slot for batch in batches for slot in batch] == slots(*rows)

    def test_another_batch_key_begins_another_loop(self) -> None:
        rows = [planned(0), planned(1, width=32), planned(2, width=32), planned(3)]
        assert sizes_of(cut(slots(*rows), BatchSizes(Room(4)))) == [1, 2, 1]

    def test_nothing_makes_no_batch(self) -> None:
        assert list(cut([], BatchSizes(Room(4)))) == []

    def test_slots_are_taken_only_as_they_are_needed(self) -> None:
        taken = []

        def many() -> Iterator[Slot]:
            for slot in slots(*(planned(index) for index in range(100))):
                taken.append(slot)
                yield slot

        next(cut(many(), BatchSizes(Room(4))))
        assert len(taken) == 4

    @pytest.mark.parametrize("fits", [0, -3, 1])
    def test_one_always_fits(self, fits: int) -> None:
        assert sizes_of(cut(slots(planned(0), planned(1)), BatchSizes(Room(fits)))) == [1, 1]

    def test_a_model_that_cannot_be_loaded_is_left_for_rendering_to_tell(self) -> None:
        rows = [planned(0, model="broken"), planned(1, model="broken")]
        assert sizes_of(cut(slots(*rows), BatchSizes(Room(4)))) == [1, 1]


class TestLearning:
    def test_what_did_not_fit_is_halved_from_then_on(self) -> None:
        sizes = BatchSizes(Room(8))
        sizes.too_many(slots(*(planned(index) for index in range(8))))
        assert sizes.limit(slots(planned(0))[0]) == 4
        sizes.too_many(slots(*(planned(index) for index in range(4))))
        assert sizes.limit(slots(planned(0))[0]) == 2

    def test_other_sizes_and_models_learn_nothing_from_it(self) -> None:
        sizes = BatchSizes(Room(8))
        sizes.too_many(slots(planned(0), planned(1)))
        assert sizes.limit(slots(planned(0, width=32))[0]) == 8
        assert sizes.limit(slots(planned(0, model="tiny-2"))[0]) == 8

    def test_one_image_that_does_not_fit_is_still_tried(self) -> None:
        sizes = BatchSizes(Room(8))
        sizes.too_many(slots(planned(0)))
        assert sizes.limit(slots(planned(0))[0]) == 1

    def test_the_engines_own_word_counts_where_it_is_less(self) -> None:
        room = Room(8)
        sizes = BatchSizes(room)
        sizes.too_many(slots(*(planned(index) for index in range(8))))
        room.fits = 2
        assert sizes.limit(slots(planned(0))[0]) == 2

    def test_a_batch_being_gathered_sees_what_was_learned_meanwhile(self) -> None:
        sizes = BatchSizes(Room(8))
        batches = cut(slots(*(planned(index) for index in range(24))), sizes)
        first = next(batches)
        sizes.too_many(first)
        assert (len(first), sizes_of(batches)) == (8, [4, 4, 4, 4])
