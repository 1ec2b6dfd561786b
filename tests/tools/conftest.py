"""Benchmarks through their command lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run_benchmark():
    """Run ``tools/analysis/benchmark_<name>.py`` on one thread and return the completed process."""

    def run(name, *arguments):
        return subprocess.run(
            [sys.executable, f"tools/analysis/benchmark_{name}.py", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=400,
        )

    return run
