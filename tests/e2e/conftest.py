"""Tools through their command lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def run_tool():
    """Run a tool through its command line and return (exit status, stdout + stderr)."""

    def run(*command, processes=None, check=True, cwd=REPOSITORY):
        arguments = [str(one) for one in command]
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHON=sys.executable)
        if processes is None:
            arguments.insert(0, sys.executable)
        else:
            tool, config, *rest = arguments
            arguments = [str(REPOSITORY / tool), config, str(processes), *rest]
        done = subprocess.run(
            arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output[-4000:]
        return done.returncode, output

    return run


@pytest.fixture
def results():
    """Read the results of a run."""
    return lambda work_dir: json.loads((Path(work_dir) / "results.json").read_text())["epochs"]
