"""Where weights come from, and how they become pipelines that stay loaded."""
