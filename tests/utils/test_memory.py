"""A size in memory reads as people write it; freed memory is kept where the C library can."""

import subprocess
import sys

import pytest

from mmreid_uda.utils import InputError, parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("12b", 12),
        ("3kB", 3_000),
        ("3KiB", 3_072),
        ("500MB", 500_000_000),
        ("2GiB", 2 * 1024**3),
        ("2 gib", 2 * 1024**3),
        (" 1.5GB ", 1_500_000_000),
        ("1TB", 10**12),
        ("1TiB", 1024**4),
    ],
)
def test_units_are_decimal_or_binary_as_written(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "much", "GiB", "2G", "2iB", "-1GB", -1, 1.5, "1,5GB", "1e9", True, None]
)
def test_nonsense_is_refused_with_what_was_found(text):
    with pytest.raises(InputError) as caught:
        parse_size(text, "cache")
    assert str(caught.value).startswith(f"found cache={text!r}, expected a number of bytes")


COUNT_PAGES = """
import resource
import numpy as np
from mmreid_uda.utils import keep_freed_memory

def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(16 << 20, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before, kept = fetched(), keep_freed_memory()
fetched()
print(int(kept), before, fetched())
"""


def test_freed_memory_is_not_fetched_again():
    result = subprocess.run(
        [sys.executable, "-c", COUNT_PAGES], capture_output=True, text=True, check=True
    )
    kept, before, after = map(int, result.stdout.split())
    if not kept:
        pytest.skip("the C library has no such setting")
    assert after < before / 5
