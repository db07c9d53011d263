"""When a job that makes no progress but errors is paused instead of burning a night."""

from services.ledger import JobProgress

HEAD_ROWS = 100


def reason_to_pause(progress: JobProgress, streak_limit: int) -> str | None:
    """Why a job should be paused now, or None. `invalid_input` is the manifest's fault and was never counted.

    Args:
        progress: the job's counts.
        streak_limit: rows failing the same way in a row that are too many; 0 switches the rule off.
    """
    if not streak_limit or progress.state != "running":
        return None
    if progress.streak >= streak_limit:
        return f"the last {progress.streak} rows failed the same way ({progress.streak_class})"
    if progress.head_rows >= HEAD_ROWS and progress.head_failures * 2 > progress.head_rows:
        return f"{progress.head_failures} of the first {progress.head_rows} rows failed"
    return None
