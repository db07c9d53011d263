"""Weighted fairness between jobs, by stride scheduling (Waldspurger and Weihl, 1995).

Each job has a pass: the cost it was served, over its weight. The job with the lowest pass goes next. A job that
comes later, or comes back, starts at the lowest pass of the others: it gets its share from now on, no arrears.
"""

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

    def order(self, jobs: set[str]) -> list[str]:
        """The jobs that have something to publish, the next one first."""
        return sorted(jobs, key=lambda job: (self._passes.get(job, 0.0), job))

    def serve(self, job: str, cost: float, weight: int) -> None:
        """Charge a job. A task without cost still counts a little, or a job of such tasks would never yield."""
        self._passes[job] = self._passes.get(job, 0.0) + max(cost, 1e-6) / weight

    def catch_up(self, waiting: set[str]) -> None:
        """Jobs that had nothing to publish lose their arrears, or they would crowd out the rest later."""
        floor = min((self._passes[job] for job in waiting if job in self._passes), default=None)
        if floor is None:
            return
        for job, value in self._passes.items():
            if job not in waiting and value < floor:
                self._passes[job] = floor


@dataclass
class QueueDepth:
    """How many published tasks should wait for a worker: enough to keep all busy, few enough to stay fair.

    One for each worker, or what the fleet takes in `horizon` seconds, whichever is more.
    """

    horizon: float = 0.5
    _rate: float = 0.0
    _waiting: int = 0
    _at: float = 0.0

    def target(self, workers: int) -> int:
        """Tasks that should be waiting."""
        return max(workers, 1, round(self._rate * self.horizon))

    def observe(self, now: float, waiting: int) -> None:
        """Learn the rate at which tasks are taken: how many of those left last time are gone. `now` in seconds."""
        span = now - self._at
        if self._at and span > 0:
            taken = max(self._waiting - waiting, 0) / span
            # Up at once, down slowly: an empty queue costs a GPU's time, a long one only some fairness.
            self._rate = max(taken, self._rate * 0.9 + taken * 0.1) if waiting else max(taken * 2, self._rate * 0.9)
        self._at = now

    def left(self, waiting: int) -> None:
        """How many tasks wait after this tick's publishing."""
        self._waiting = waiting
