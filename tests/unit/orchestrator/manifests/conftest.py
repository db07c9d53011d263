from pathlib import Path
from typing import Any

import pytest
from manifest_files import Found, Reader, read_bytes


@pytest.fixture
def manifest(tmp_path: Path) -> Reader:
    """`manifest(name, content, **options)`: rows and faults of a file with that content."""

    def reader(name: str, content: str | bytes, **options: Any) -> Found:
        data = content.encode() if isinstance(content, str) else content
        return read_bytes(tmp_path, name, data, **options)

    return reader
