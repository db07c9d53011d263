"""What renders: one file per pipeline."""
