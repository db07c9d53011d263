"""The version of promptmill that is installed."""

from importlib.metadata import PackageNotFoundError, version


def promptmill_version() -> str:
    """As in `pyproject.toml`; `0+unknown` where the code runs without being installed."""
    try:
        return version("promptmill")
    except PackageNotFoundError:
        return "0+unknown"
