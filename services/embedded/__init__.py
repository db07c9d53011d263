"""Services for a single machine: a real Redis and a real S3 endpoint, started and ended with `promptmill run`."""
