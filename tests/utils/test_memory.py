"""A size in memory reads as people write it, and nonsense is refused in a sentence."""

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
