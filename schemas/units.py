"""Cost. 512 x 512 pixels times 50 steps is one unit; cost is linear in pixels and steps.

The upscaler counts its output's pixels. The rule is DreamStudio's, without its rounding.
"""

UNIT_PIXELS = 512 * 512
UNIT_STEPS = 50


def units(width: int, height: int, steps: int, images: int = 1) -> float:
    """Cost of `images` images of width x height output pixels at `steps` denoising steps."""
    return width * height * steps * images / (UNIT_PIXELS * UNIT_STEPS)
