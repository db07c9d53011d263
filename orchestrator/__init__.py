"""The user's side: manifests, planner, dispatcher, status, fetch. Never imports torch or the workers."""
