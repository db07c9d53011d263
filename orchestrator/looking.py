"""Looking at something again and again, through outages."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from schemas.errors import ServiceError, UnreadableObject

Seen = TypeVar("Seen")


def looks(look: Callable[[], Seen], every: float) -> Iterator[Seen | ServiceError]:
    """What each look shows, every so many seconds, for ever.

    Once there was something to see, an outage of Redis or of the store is what a look shows, and passes. A service that
    was never there is raised, and so is an object that cannot be understood: waiting would not help.
    """
    seen = False
    while True:
        found: Seen | ServiceError
        try:
            found = look()
            seen = True
        except ServiceError as error:
            if not seen or isinstance(error, UnreadableObject):
                raise
            found = error
        yield found
        time.sleep(every)
