"""The memory of a piece of work is what it needs at its peak, not what it leaves; and how a cost grows."""

from pathlib import Path

import numpy as np
import pytest
from measuring import added_memory, fitted_exponent

MIB = 2**20


def prepare(before, during):
    """Hold some MiB before the work, and more of them for a moment in it."""
    held = np.ones(before * MIB, np.uint8)
    return lambda: np.ones(during * MIB, np.uint8).sum() + held[0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the memory")
def test_only_the_work_counts_and_at_its_peak():
    assert added_memory(prepare, 200, 50) == pytest.approx(50 * MIB, abs=8 * MIB)


def test_the_fitted_exponent_is_that_of_a_power_law():
    sizes = [100, 200, 500]
    assert fitted_exponent(sizes, [3 * size**1.7 for size in sizes]) == pytest.approx(1.7)
