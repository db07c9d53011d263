"""The GPU side: the Celery task, the runner, the engines, encoding and upload."""
