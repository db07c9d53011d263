"""Templates: prompts that are made from a row's prompt, only where the row asks for it."""

from orchestrator.manifests.templates.expand import Templates

__all__ = ["Templates"]
