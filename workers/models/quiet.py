"""What the libraries print on their own."""

import transformers
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.utils import disable_progress_bars


def quiet_libraries() -> None:
    """No progress bars and no notices of diffusers and transformers in this process; their errors stay.

    Truncated prompts and missing safety checkers are told per row by our own code.
    """
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
