"""Weighted fairness between jobs, and how many tasks wait in the queue."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.dispatch.share import QueueDepth, Shares


def serve(shares: Shares, rounds: int, weights: dict[str, int], costs: dict[str, float]) -> Counter[str]:
    """Cost that each job was served in so many rounds, all of them hungry."""
    served: Counter[str] = Counter()
    for _ in range(rounds):
        (job,) = shares.allot(1, {job: costs[job] for job in weights}, weights)
        shares.serve(job, costs[job], weights[job])
        served[job] += costs[job]  # type: ignore[assignment]
    return served


def first(shares: Shares, *jobs: str) -> str:
    """Who would go next."""
    (job,) = shares.allot(1, dict.fromkeys(jobs, 1.0), dict.fromkeys(jobs, 1))
    return job


class TestShares:
    def test_twice_the_weight_is_twice_the_share(self) -> None:
        shares, weights = Shares(), {"a": 100, "b": 200, "c": 300}
        shares.keep(set(weights))
        assert serve(shares, 60, weights, dict.fromkeys(weights, 1.0)) == {"a": 10, "b": 20, "c": 30}

    @given(
        st.lists(st.tuples(st.integers(1, 1000), st.floats(0.01, 100)), min_size=2, max_size=5),
        st.integers(50, 300),
    )
    def test_cost_is_shared_not_tasks(self, jobs: list[tuple[int, float]], rounds: int) -> None:
        weights = {f"j{place}": weight for place, (weight, _) in enumerate(jobs)}
        costs = {f"j{place}": cost for place, (_, cost) in enumerate(jobs)}
        shares = Shares()
        shares.keep(set(weights))
        served = serve(shares, rounds, weights, costs)
        passes = {job: served[job] / weights[job] for job in weights}
        largest = max(costs[job] / weights[job] for job in weights)
        assert max(passes.values()) - min(passes.values()) <= largest * (1 + 1e-9)

    def test_a_small_job_behind_a_large_one_does_not_wait_for_it(self) -> None:
        shares, weights, costs = Shares(), {"large": 100}, {"large": 1.0, "small": 1.0}
        shares.keep({"large"})
        serve(shares, 1000, weights, costs)
        shares.keep({"large", "small"})
        served = serve(shares, 40, {"large": 100, "small": 100}, costs)
        assert served["small"] == 20

    def test_who_comes_later_gets_its_share_from_now_on_and_no_arrears(self) -> None:
        shares, costs = Shares(), {"a": 1.0, "b": 1.0}
        shares.keep({"a"})
        serve(shares, 100, {"a": 1}, costs)
        shares.keep({"a", "b"})
        assert serve(shares, 10, {"a": 1, "b": 1}, costs) == {"a": 5, "b": 5}

    def test_who_had_nothing_to_publish_loses_its_arrears(self) -> None:
        shares, costs = Shares(), {"a": 1.0, "b": 1.0}
        shares.keep({"a", "b"})
        serve(shares, 100, {"a": 1}, costs)
        shares.catch_up({"a"})
        assert serve(shares, 10, {"a": 1, "b": 1}, costs) == {"a": 5, "b": 5}

    def test_who_waits_keeps_its_turn(self) -> None:
        shares = Shares()
        shares.keep({"a", "b"})
        shares.serve("a", 10.0, 1)
        shares.catch_up({"a", "b"})
        assert first(shares, "a", "b") == "b"

    def test_a_job_of_tasks_without_cost_yields_too(self) -> None:
        shares = Shares()
        shares.keep({"a", "b"})
        served = serve(shares, 10, {"a": 1, "b": 1}, {"a": 0.0, "b": 0.0})
        assert set(served) == {"a", "b"}

    def test_a_job_that_is_gone_is_forgotten(self) -> None:
        shares = Shares()
        shares.keep({"a", "b"})
        shares.serve("a", 1000.0, 1)
        shares.keep({"b"})
        shares.keep({"a", "b"})
        assert first(shares, "a", "b") == "a"

    def test_the_order_of_equals_is_always_the_same(self) -> None:
        shares = Shares()
        shares.keep({"c", "a", "b"})
        assert first(shares, "c", "b", "a") == "a"

    @given(
        st.lists(st.tuples(st.integers(1, 1000), st.floats(0, 100)), min_size=1, max_size=5),
        st.integers(0, 100),
    )
    def test_what_is_allotted_at_once_is_what_one_by_one_would_be(
        self, jobs: list[tuple[int, float]], free: int
    ) -> None:
        weights = {f"j{place}": weight for place, (weight, _) in enumerate(jobs)}
        costs = {f"j{place}": cost for place, (_, cost) in enumerate(jobs)}
        shares = Shares()
        shares.keep(set(weights))
        at_once = shares.allot(free, costs, weights)
        one_by_one: Counter[str] = Counter()
        for _ in range(free):
            (job,) = shares.allot(1, costs, weights)
            shares.serve(job, costs[job], weights[job])
            one_by_one[job] += 1
        assert at_once == one_by_one
        assert sum(at_once.values()) == free

    def test_nobody_is_hungry(self) -> None:
        assert Shares().allot(5, {}, {}) == {}


class TestQueueDepth:
    @pytest.mark.parametrize("workers", [0, 1, 7])
    def test_at_least_one_waits_for_each_worker(self, workers: int) -> None:
        assert QueueDepth().target(workers) == max(workers, 1)

    def simulate(self, rate: float, workers: int = 2, seconds: float = 10.0, tick: float = 0.1) -> tuple[int, float]:
        """Workers take `rate` tasks per second; returns the depth in the end and the share of ticks run dry."""
        depth, queue, taken, dry, ticks = QueueDepth(), 0.0, 0.0, 0, int(seconds / tick)
        for number in range(ticks):
            now = 1 + number * tick
            waiting = int(queue)
            depth.observe(now, waiting)
            queue += max(depth.target(workers) - waiting, 0)
            depth.left(int(queue))
            taken = min(queue, rate * tick)
            dry += number > ticks // 2 and taken < rate * tick
            queue -= taken
        return depth.target(workers), dry / (ticks / 2)

    def test_a_fleet_that_takes_many_small_tasks_never_runs_dry(self) -> None:
        target, dry = self.simulate(rate=100.0)
        assert dry == 0
        assert target >= 50

    def test_a_fleet_that_takes_few_keeps_the_queue_short(self) -> None:
        assert self.simulate(rate=1.0)[0] <= 3

    def test_the_depth_falls_again_when_the_fleet_slows_down(self) -> None:
        depth = QueueDepth()
        depth.observe(1.0, 0)
        depth.left(100)
        depth.observe(2.0, 0)
        assert depth.target(1) >= 25
        for second in range(3, 60):
            depth.left(1)
            depth.observe(float(second), 1)
        assert depth.target(1) == 1
