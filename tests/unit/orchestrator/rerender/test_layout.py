"""From the places that images record, a task in which they get these places again."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rerender.layout import Layout, Place, layout_of


def places(limit: int, before: int, images: int, behind: int) -> list[Place]:
    """Where a worker puts a row's images: a task's images are cut at the limit, and the last batch is the rest."""
    total = before + images + behind
    found = []
    for position in range(before, before + images):
        batch, slot = divmod(position, limit)
        found.append(Place(min(limit, total - batch * limit), slot))
    return found


@given(st.data(), st.integers(1, 9), st.integers(1, 7), st.integers(0, 20), st.integers(0, 20))
def test_any_known_image_gets_its_place_again(
    data: st.DataObject, limit: int, images: int, before: int, behind: int
) -> None:
    made = places(limit, before, images, behind)
    known = data.draw(st.lists(st.sampled_from(range(images)), min_size=1, unique=True))
    layout = layout_of({number: made[number] for number in known}, images)
    assert layout is not None
    again = places(layout.limit, layout.before, images, layout.behind)
    assert [again[number] for number in known] == [made[number] for number in known]
    assert layout.before < layout.limit
    assert layout.before + images + layout.behind <= images + 2 * layout.limit


def test_an_image_that_was_alone_needs_no_others() -> None:
    assert layout_of({0: Place(1, 0)}, 1) == Layout(1, 0, 0)
    assert layout_of({2: Place(1, 0), 0: Place(1, 0)}, 4) == Layout(1, 0, 0)


def test_a_row_in_the_middle_of_a_batch() -> None:
    assert layout_of({0: Place(8, 3), 1: Place(8, 4)}, 2) == Layout(8, 3, 3)


def test_a_row_that_goes_over_two_batches_of_which_the_last_is_smaller() -> None:
    assert layout_of({0: Place(8, 7), 1: Place(3, 0)}, 2) == Layout(8, 7, 2)


def test_places_of_no_one_task_have_no_layout() -> None:
    assert layout_of({0: Place(4, 0), 1: Place(4, 3)}, 2) is None
    assert layout_of({0: Place(2, 0), 1: Place(4, 1)}, 2) is None
