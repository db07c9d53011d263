"""The ledger: what is in flight, in Redis. It can be rebuilt from the object store at any time."""

from services.ledger.ledger import Ledger
from services.ledger.looks import Look
from services.ledger.records import CountDelta, Flight, JobProgress, Lease, WorkerReport

__all__ = ["CountDelta", "Flight", "JobProgress", "Lease", "Ledger", "Look", "WorkerReport"]
