"""Galleries of tests lie in memory where there is room: nothing here waits for a disk."""

import shutil
import tempfile
from pathlib import Path

import pytest

_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30


@pytest.fixture
def tmp_path(tmp_path):
    """A folder in memory; the usual one where there is too little."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder)
