"""YAML and JSON documents: rows with defaults, multiplied by parameter spaces."""

from orchestrator.manifests.documents.outline import Outline, read_outline
from orchestrator.manifests.documents.placed import PlacedFaults, Places
from orchestrator.manifests.documents.sweep import Sweeper

__all__ = ["Outline", "PlacedFaults", "Places", "Sweeper", "read_outline"]
