"""From rows as authored to a plan: every default resolved, rows grouped by batch key, cut into tasks."""
