"""Benchmarks through their command lines."""

import pytest
from processes import REPOSITORY, run_script


@pytest.fixture(scope="session")
def run_benchmark():
    """Run ``tools/benchmarks/benchmark_<name>.py`` on one thread and return the completed process."""

    def run(name, *arguments):
        stem = name if name == "scale" else f"benchmark_{name}"
        script = f"tools/benchmarks/{stem}.py"
        environment = dict(PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1")
        return run_script(script, *arguments, env=environment, timeout=400)

    return run
