"""Manifests of the fault suite."""

from typing import Any


def prompts(count: int, text: str = "picture") -> list[dict[str, Any]]:
    """So many rows, each with a picture of its own."""
    return [{"prompt": f"{text} {number}"} for number in range(count)]
