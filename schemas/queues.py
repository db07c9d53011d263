"""Names in the broker, formatted here and nowhere else."""

from schemas.rows import PipelineName
from schemas.task import TaskMessage

RENDER_TASK = "promptmill.render"
RENDER_QUEUE = "promptmill.render"


def queue_for(pipeline: PipelineName, model: str) -> str:
    """Where a task is published to. One queue for all: every worker can render everything.

    The only place that decides, so that routing by loaded model can come without touching the rest.
    """
    return RENDER_QUEUE


def task_id(message: TaskMessage) -> str:
    """The Celery id of a message: `JOB/MEMBER/ATTEMPT`, so that the queue can be read as a list of members."""
    return f"{message.job}/{message.member}/{message.attempt}"


def parse_task_id(text: str) -> tuple[str, str]:
    """Job and member of a Celery id.

    Raises:
        ValueError: not an id of ours.
    """
    job, member, _ = text.split("/")
    return job, member
