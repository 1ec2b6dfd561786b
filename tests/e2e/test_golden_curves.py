"""Three configs train as they did when their curves were recorded; ``tests/golden.py`` compares all of them."""

import golden
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not golden.recorded_here(), reason="recorded on another kind of CPU")
def test_losses_are_the_recorded_ones_to_the_last_bit(data_root, tmp_path):
    names = ["ise_mbv2_synthb", "fat_mbv2_synthb", "ptl_mbv2_synthb"]
    found = golden.curves(names, str(data_root), str(tmp_path))
    assert [golden.differences(name, found[name]) for name in names] == [""] * len(names)
