"""Which model leaves when memory is short."""

import pytest

from workers.models.pool import HEADROOM_BYTES, ModelPool


class Frugal(ModelPool[str]):
    """A pool that never runs out of memory."""

    def __init__(self, limit: int) -> None:
        self.given_back = 0
        super().__init__(limit, lambda: 2**60, self._count)

    def _count(self) -> None:
        self.given_back += 1


def test_the_limit_counts_models() -> None:
    pool = Frugal(2)
    for alias in ("a", "b"):
        pool.add(alias, alias)
    pool.get("a")
    pool.add("c", "c")
    assert pool.loaded() == ["a", "c"]
    assert pool.given_back == 1


def test_without_a_limit_all_stay_while_memory_lasts() -> None:
    pool = Frugal(0)
    for number in range(20):
        pool.add(str(number), "")
        pool.make_room(10**9, keep=str(number))
    assert len(pool.loaded()) == 20


@pytest.mark.parametrize(("needed", "left"), [(100, ["a", "b", "c"]), (300, ["b", "c"]), (500, ["c"]), (9000, ["c"])])
def test_the_oldest_leave_until_there_is_room(needed: int, left: list[str]) -> None:
    freed: list[str] = []
    sizes = {"a": 200, "b": 200, "c": 0}
    pool: ModelPool[int] = ModelPool(
        0, lambda: HEADROOM_BYTES + 600 - sum(sizes[alias] for alias in pool.loaded()), lambda: freed.append("")
    )
    for alias, size in sizes.items():
        pool.add(alias, size)
    pool.make_room(needed, keep="c")
    assert pool.loaded() == left
    assert len(freed) == 3 - len(left)


def test_all_but_one_can_leave() -> None:
    pool = Frugal(0)
    for alias in ("a", "b", "c"):
        pool.add(alias, alias)
    assert pool.drop_all_but("b")
    assert pool.loaded() == ["b"]
    assert not pool.drop_all_but("b")
    pool.drop("b")
    pool.drop("b")
    assert pool.loaded() == []
    assert pool.get("b") is None
