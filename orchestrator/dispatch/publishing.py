"""Which tasks go into the queue now, and how: as many as keep the workers busy, shared by weight between jobs."""

from collections.abc import Mapping

from orchestrator.dispatch.active_job import ActiveJob, Order
from orchestrator.dispatch.share import QueueDepth, Shares
from services.broker import Broker
from services.failpoints import failpoint
from services.ledger import Flight, Ledger


class Publisher:
    """Fills the queue. It remembers shares and the fleet's rate; a restarted one starts evenly, and learns again."""

    def __init__(self, ledger: Ledger, broker: Broker) -> None:
        self._ledger = ledger
        self._broker = broker
        self._shares = Shares()
        self._depth = QueueDepth()

    def publish(
        self, active: Mapping[str, ActiveJob], flights: Mapping[str, list[Flight]], *, workers: int, now: float
    ) -> dict[str, Exception]:
        """Fill the queue up to its depth.

        A look costs the same requests to Redis whatever the number of tasks and jobs: one that takes members of all
        jobs from the ledger, and one for each 500 messages.

        Args:
            active: every job that is not finished.
            flights: what is in flight of each job that may be published from.
            workers: how many are there.
            now: a steady clock, in seconds.

        Returns:
            What went wrong with single jobs, by job. Their members come back after the grace time.

        Raises:
            LedgerUnavailable: Redis does not answer.
        """
        waiting = sum(not flight.token for found in flights.values() for flight in found)
        self._depth.observe(now, waiting)
        free = self._depth.target(workers) - waiting
        self._shares.keep(set(active))
        hungry, troubles = set(flights), dict[str, Exception]()
        while free > 0 and hungry:
            wanted = self._allot(free, {job: active[job] for job in hungry})
            taken = self._ledger.take(wanted)
            failpoint("dispatch.taken")
            orders = self._orders_of_all(active, taken, troubles)
            self._broker.publish((order.message, order.queue) for order in orders)
            failpoint("dispatch.published")
            hungry -= {job for job, number in wanted.items() if len(taken[job]) < number} | troubles.keys()
            free -= sum(map(len, taken.values()))
            waiting += len(orders)
        self._shares.catch_up(hungry)
        self._depth.left(waiting)
        return troubles

    def _allot(self, free: int, hungry: Mapping[str, ActiveJob]) -> dict[str, int]:
        costs = {job: active.task_cost for job, active in hungry.items()}
        weights = {job: active.control.priority for job, active in hungry.items()}
        return self._shares.allot(free, costs, weights)

    def _orders_of_all(
        self,
        active: Mapping[str, ActiveJob],
        taken: Mapping[str, list[tuple[str, int]]],
        troubles: dict[str, Exception],
    ) -> list[Order]:
        """What was taken, as messages; what is wrong with one job goes into `troubles`, and stops no other."""
        orders: list[Order] = []
        for job, members in taken.items():
            try:
                orders += self._orders(active[job], members)
            except Exception as error:
                troubles[job] = error
        return orders

    def _orders(self, active: ActiveJob, members: list[tuple[str, int]]) -> list[Order]:
        orders = [active.order(member, losses) for member, losses in members]
        for order in orders:
            self._shares.serve(active.job, order.cost, active.control.priority)
        return orders
