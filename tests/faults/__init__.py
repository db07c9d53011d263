"""The fault suite: what breaks in production, broken on purpose, and the invariant that must hold afterwards."""
