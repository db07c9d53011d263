"""What to do where this machine lacks what a test needs."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip on a laptop; fail under `CI=true`, where a test that never runs would pass for ever."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
