"""The garbage collector is held back for a while, and then is as it was."""

import gc

import pytest

from orchestrator.collector import seldom_collected


def test_it_is_as_before_when_the_block_ends_and_when_it_raises() -> None:
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold() > before
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError), seldom_collected():
        1 / 0  # noqa: B018
    assert gc.get_threshold() == before
