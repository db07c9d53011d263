"""The dispatcher: a reconciler that compares what should be with what is, and publishes the difference."""
