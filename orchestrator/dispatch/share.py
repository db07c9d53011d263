"""Weighted fairness between jobs, by stride scheduling (Waldspurger and Weihl, 1995).

Each job has a pass: the cost it was served, over its weight. The job with the lowest pass goes next. A job that
comes later, or comes back, starts at the lowest pass of the others: it gets its share from now on, no arrears.
"""

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Shares:
    """Who goes next. Pure: no clock, no Redis; a restarted dispatcher starts evenly again."""

    _passes: dict[str, float] = field(default_factory=dict)

    def keep(self, jobs: set[str]) -> None:
        """Enter new jobs and forget those that are gone."""
        self._passes = {job: value for job, value in self._passes.items() if job in jobs}
        floor = min(self._passes.values(), default=0.0)
        for job in jobs - self._passes.keys():
            self._passes[job] = floor

    def allot(self, free: int, costs: Mapping[str, float], weights: Mapping[str, int]) -> dict[str, int]:
        """How many tasks each hungry job publishes now, `free` in all, as if they were served one by one.

        Args:
            costs: hungry job -> what a task of it is expected to cost. What it did cost is charged by `serve`, so a
                wrong guess is made up for at the next look.
            weights: job -> weight.
        """
        line = [(self._passes.get(job, 0.0), job) for job in costs]
        heapq.heapify(line)
        found: dict[str, int] = {}
        for _ in range(free if line else 0):
            value, job = line[0]
            found[job] = found.get(job, 0) + 1
            heapq.heapreplace(line, (value + _charge(costs[job], weights[job]), job))
        return found

    def serve(self, job: str, cost: float, weight: int) -> None:
        """Charge a job for what it was served."""
        self._passes[job] = self._passes.get(job, 0.0) + _charge(cost, weight)

    def catch_up(self, waiting: set[str]) -> None:
        """Jobs that had nothing to publish lose their arrears, or they would crowd out the rest later."""
        floor = min((self._passes[job] for job in waiting if job in self._passes), default=None)
        if floor is None:
            return
        for job, value in self._passes.items():
            if job not in waiting and value < floor:
                self._passes[job] = floor


def _charge(cost: float, weight: int) -> float:
    """A task without cost still counts a little, or a job of such tasks would never yield."""
    return max(cost, 1e-6) / weight


@dataclass
class QueueDepth:
    """How many published tasks should wait for a worker: enough to keep all busy, few enough to stay fair.

    One for each worker, or what the fleet takes in `horizon` seconds, whichever is more. The rate is that of the last
    `window` seconds: one task that is taken between two looks says nothing about the next. A fleet that empties the
    queue at every look is given more each time, as its rate is then the depth over the pause between two looks.
    """

    horizon: float = 0.5
    window: float = 2.0
    _taken: deque[tuple[float, int]] = field(default_factory=deque)
    _waiting: int = 0

    def target(self, workers: int) -> int:
        """Tasks that should be waiting."""
        rate = sum(count for _, count in self._taken) / self.window
        return max(workers, 1, round(rate * self.horizon))

    def observe(self, now: float, waiting: int) -> None:
        """Learn how many of the tasks left last time are gone. `now` in seconds."""
        self._taken.append((now, max(self._waiting - waiting, 0)))
        while self._taken[0][0] <= now - self.window:
            self._taken.popleft()

    def left(self, waiting: int) -> None:
        """How many tasks wait after this tick's publishing."""
        self._waiting = waiting
