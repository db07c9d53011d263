"""Work ahead, in order."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from orchestrator.prefetch import prefetch


def test_results_come_in_order_and_items_are_taken_as_needed() -> None:
    taken: list[int] = []

    def watched() -> Iterator[int]:
        for item in range(50):
            taken.append(item)
            yield item

    def slow(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return item

    with ThreadPoolExecutor(4) as pool:
        results = prefetch(pool, slow, watched(), 5)
        assert next(results) == 0
        assert len(taken) == 5
        assert list(results) == list(range(1, 50))


def test_an_error_comes_at_its_place_and_ends_it() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return 10 // (item - 3)

    with (
        ThreadPoolExecutor(1) as pool,
        closing(prefetch(pool, work, range(1000), 4)) as results,
        pytest.raises(ZeroDivisionError),
    ):
        list(results)
    assert len(begun) < 20


def test_what_was_not_begun_is_cancelled_when_it_is_left() -> None:
    go = threading.Event()
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item:
            go.wait(5)
        return item

    with ThreadPoolExecutor(1) as pool:
        with closing(prefetch(pool, work, range(100), 10)) as results:
            next(results)
        go.set()
    assert len(begun) <= 2
