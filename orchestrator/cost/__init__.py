"""What a job will cost, before anything is spent."""
