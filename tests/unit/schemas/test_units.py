"""Cost: 512 x 512 pixels times 50 steps is one unit, linear in everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.units import units

SIDES = st.integers(1, 1024).map(lambda eighths: 8 * eighths)


@pytest.mark.parametrize(
    ("size", "steps", "images", "cost"),
    [
        ((512, 512), 50, 1, 1.0),
        ((1024, 1024), 50, 1, 4.0),
        ((512, 512), 25, 1, 0.5),
        ((512, 512), 50, 100, 100.0),
        ((768, 512), 30, 2, 1.8),
        ((8, 8), 1, 1, 64 / 512 / 512 / 50),
    ],
)
def test_known_costs(size: tuple[int, int], steps: int, images: int, cost: float) -> None:
    assert units(*size, steps, images) == pytest.approx(cost, rel=1e-12)


@given(SIDES, SIDES, st.integers(1, 1000), st.integers(1, 100))
def test_images_cost_the_same_together_and_apart(width: int, height: int, steps: int, images: int) -> None:
    assert units(width, height, steps, images) == pytest.approx(images * units(width, height, steps), rel=1e-12)
    assert units(width, height, steps) == units(height, width, steps) > 0
