"""What happened to one row: every attempt at it, by whom and when, and how it ended."""

from collections.abc import Iterator
from contextlib import closing

from orchestrator.events import Event, History, in_order, iso, losses, token_time
from orchestrator.find_row import RowPlace, find_row
from orchestrator.frozen_outcomes import read_frozen
from orchestrator.local_disk import scratch_folder
from schemas import keys
from schemas.errors import LedgerUnavailable
from schemas.result import ResultLine, best
from services import jobs
from services.ledger import Ledger
from services.store import ObjectStore

DISPATCHER = "orchestrator"  # the worker in results that the dispatcher wrote: rows that failed as poison


def row_history(store: ObjectStore, ledger: Ledger, job: str, row: str) -> History:
    """What happened to one row, by its id or, where no row has this id, its number from 0.

    Raises:
        JobNotFound: no such job, or no such row in it.
        ServiceError: the object store does not answer; without Redis only `now` is missing.
    """
    document = jobs.read_document(store, job)
    places = find_row(store, document, row)
    planned = places[0].row
    lines = [(place, line) for place in places for line in _lines(store, job, place)]
    counting = _counting(store, job, places[0].part, [line for _, line in lines])
    events = [Event(at=document.submitted_at, kind="submitted", text="submitted")]
    for place, line in lines:
        events += _attempt(place, line, counts=len(lines) > 1 and line == counting)
    members = {place.member for place in places} | {place.alone for place in places}
    events += losses(store, job, members)
    events += _left(store, job, places, {event.token for event in events})
    return History(
        job=job,
        row=planned.id,
        index=planned.index,
        events=in_order(events),
        now=_row_now(ledger, job, places, decided=counting is not None),
    )


def _lines(store: ObjectStore, job: str, place: RowPlace) -> Iterator[ResultLine]:
    """Every line of the row in the pieces of its task."""
    for info in store.list(keys.task_results_folder(job, place.part, place.task)):
        try:
            keys.parse_piece(info.key)
        except ValueError:
            continue  # somebody else's file
        yield from (line for line in jobs.read_piece(store, info.key) if line.index == place.row.index)


def _counting(store: ObjectStore, job: str, part: int, lines: list[ResultLine]) -> ResultLine | None:
    """The line that counts. What an earlier finalize froze decides only where several are done."""
    done = [line for line in lines if line.status == "done"]
    if len(done) > 1:
        with scratch_folder() as folder, closing(read_frozen(store, job, folder)) as frozen:
            kept = frozen.part(part).get(done[0].index)
        if kept is not None:
            return next((line for line in done if line.token == kept.token), kept)
    return best(lines) if lines else None


def _attempt(place: RowPlace, line: ResultLine, *, counts: bool) -> Iterator[Event]:
    common = {"task": place.member, "worker": line.worker, "token": line.token}
    if line.worker != DISPATCHER:
        handed = f"task {place.member} handed to {line.worker or 'a worker'}"
        yield Event(at=token_time(line.token), kind="handed_out", text=handed, **common)
    if line.failure is None:
        size = f"{len(line.images)} image{'' if len(line.images) == 1 else 's'}"
        told = f"done by {line.worker}: {size}, {line.seconds:.2f} s of denoising"
        yield Event(at=line.finished_at, kind="done", text=told, counts=counts, **common)
        return
    failure = line.failure
    told = f"failed, {failure.error_class}: {failure.message} (attempt {failure.attempts}, {line.worker})"
    error_class = failure.error_class
    yield Event(at=line.finished_at, kind="failed", text=told, counts=counts, error_class=error_class, **common)


def _left(store: ObjectStore, job: str, places: list[RowPlace], known: set[str]) -> Iterator[Event]:
    """Attempts that left images of the row, and neither a result nor a loss on record."""
    for place in places:
        left: dict[str, int] = {}
        for info in store.list(keys.row_images(job, place.part, place.row.index)):
            try:
                token = keys.parse_image(info.key).token
            except ValueError:
                continue
            if token not in known:
                left[token] = left.get(token, 0) + 1
        for token, images in left.items():
            told = f"handed out; {images} image{'' if images == 1 else 's'} of it came, and no result"
            yield Event(at=token_time(token), kind="left", text=told, task=place.member, token=token)


def _row_now(ledger: Ledger, job: str, places: list[RowPlace], *, decided: bool) -> tuple[str, ...]:
    try:
        if ledger.progress(job) is None:
            told = "" if decided else "no result yet; the ledger does not know the job: is an orchestrator running?"
            return (told,) if told else ()
        flights = {flight.member: flight for flight in ledger.flights(job)}
        lost, errors = ledger.notes(job)
    except LedgerUnavailable as error:
        return (f"where its task stands cannot be told: {error.message}",)
    told_now = []
    for member in (name for place in places for name in (place.member, place.alone)):
        flight = flights.get(member)
        if flight is not None and flight.token:
            told_now.append(f"task {member} is with {flight.worker}, leased until {iso(flight.expiry / 1000)}")
        elif flight is not None:
            told_now.append(f"task {member} waits in the queue since {iso(flight.since / 1000)}")
        if member in errors:
            told_now.append(f"task {member}: last error: {errors[member]}")
        if member in lost:
            told_now.append(f"task {member}: losses: {lost[member]}")
    if not told_now and not decided:
        told_now.append("its task has not been handed out yet")
    return tuple(told_now)
