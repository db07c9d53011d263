"""Python's cyclic garbage collector, held back while millions of rows pass."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Containers that may be made before a look at the young ones, and looks before the next generation's. Rows are freed
# when nobody refers to them any more; they make no cycles, and looking for some takes a tenth of the time.
_THRESHOLDS = (50_000, 20, 50)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for cycles seldom in this block; memory that cycles hold is given back later, not never."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
