"""The user's side: manifests, planner, dispatcher, status, fetch. Never imports torch or the workers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the dispatcher and the readers need none of it.
    if name == "Client":
        from orchestrator.client import Client

        return Client
    raise AttributeError(name)
