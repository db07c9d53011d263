"""When a job that makes no progress but errors is paused instead of burning a night."""

from services.ledger import JobProgress

HEAD_ROWS = 100


def reason_to_pause(progress: JobProgress, streak_limit: int, max_units: float | None = None) -> str | None:
    """Why a job should be paused now, or None. `invalid_input` is the manifest's fault and was never counted.

    Args:
        progress: the job's counts.
        streak_limit: rows failing the same way in a row that are too many; 0 switches the rule off.
        max_units: what its counted tasks may cost; None: no limit.
    """
    if progress.state != "running":
        return None
    if max_units is not None and progress.units > max_units and progress.counted < progress.tasks:
        spent = f"{progress.units:,.2f} units are rendered, and its limit is {max_units:,.2f}"
        return f"{spent}: resume --max-units sets another"
    if not streak_limit:
        return None
    if progress.streak >= streak_limit:
        return f"the last {progress.streak} rows failed the same way ({progress.streak_class})"
    if progress.head_rows >= HEAD_ROWS and progress.head_failures * 2 > progress.head_rows:
        return f"{progress.head_failures} of the first {progress.head_rows} rows failed"
    return None
