"""What runs leave behind."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def results():
    """Read the results of a run."""
    return lambda work_dir: json.loads((Path(work_dir) / "results.json").read_text())["epochs"]
