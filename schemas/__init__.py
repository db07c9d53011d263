"""What is said between the parts of promptmill. Pydantic only: no service, no torch, no Celery."""
