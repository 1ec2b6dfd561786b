"""Checks on a CUDA device, the same as those of tools/benchmarks/gpu_report.py: ``pytest -m gpu``."""

import os
from pathlib import Path

import pytest
import torch
from gpu_checks.findings import NotHere
from gpu_checks.suite import CUBLAS

FOLDER = Path(__file__).parent

# Before CUDA starts: cuBLAS repeats itself only with it.
os.environ.update(CUBLAS)


def pytest_collection_modifyitems(items):
    missing = pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none"
    )
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(missing)


@pytest.fixture
def passes():
    """Run a check on the GPU and show its figures; what this machine lacks skips the test."""

    def run(check, **arguments):
        try:
            findings = check(device="cuda", **arguments)
        except NotHere as reason:
            pytest.skip(str(reason))
        print(findings.metrics, *findings.notes)
        assert not findings.reasons

    return run
