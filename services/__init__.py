"""The backing services that both sides stand on: settings, object store, ledger, Celery."""
