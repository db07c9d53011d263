"""What a submit needs beside a store."""

from pathlib import Path

import pytest

from services.catalogue import Catalogue
from services.settings import DispatchSettings, Settings


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


@pytest.fixture
def settings(no_settings: Path) -> Settings:
    return Settings(dispatch=DispatchSettings(task_rows=2, task_units=1000))
