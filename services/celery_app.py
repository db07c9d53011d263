"""The Celery app: JSON alone, no result backend, early acknowledgement. Leases recover tasks, not the broker."""

from typing import Any

from celery import Celery

from schemas.queues import RENDER_QUEUE
from services.broker_transport import TRANSPORT
from services.redis_client import SOCKET_SECONDS, tls_options
from services.settings import Settings

TRANSPORT_OPTIONS = {
    # Without limits a half-open link hangs for over a minute.
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": SOCKET_SECONDS,
    "socket_keepalive": True,
    "health_check_interval": 3,
    # Tasks are acknowledged when they start, so nothing legitimate stays unacknowledged for an hour.
    "visibility_timeout": 3600,
    "unacked_restore_interval": 10,
}


def make_app(settings: Settings, include: tuple[str, ...] = ()) -> Celery:
    """The app of one process; `include` names the modules that define its tasks."""
    app = Celery("promptmill", broker=settings.redis.url.get_secret_value(), include=list(include))
    app.conf.update(_configuration())
    tls = tls_options(settings.redis)
    if tls:
        app.conf.broker_use_ssl = tls
    return app


def _configuration() -> dict[str, Any]:
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_default_queue": RENDER_QUEUE,
        "task_acks_late": False,
        "task_publish_retry": False,  # a lost reply would double the message; the dispatcher publishes again anyway
        "task_protocol": 2,
        "broker_transport": TRANSPORT,
        "broker_transport_options": TRANSPORT_OPTIONS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,  # with early acknowledgement a busy worker would reserve one more
        "worker_concurrency": 1,
        "worker_pool": "prefork",
        "worker_pool_start_method": "spawn",  # fork breaks CUDA
        "worker_proc_alive_timeout": 120.0,  # a spawned child imports torch first
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
        "worker_redirect_stdouts": False,
        "enable_utc": True,
    }
