"""Tables of positions at another grid: the worked numbers of METHODS2 §3.4, and a slow loop."""

import pytest
import torch

from mmreid_uda.checkpoint import infer_grid, resize_positions
from mmreid_uda.utils import InputError


def ramp(height, width):
    """(1, 1 + h·w, 1): a class slot of -1, then row·w + column."""
    return torch.cat([torch.tensor([-1.0]), torch.arange(height * width).float()])[None, :, None]


def test_the_worked_numbers():
    def entries(old, new, places, **options):
        table = resize_positions(ramp(*old), new, **options)
        assert table.shape == (1, 1 + new[0] * new[1], 1) and table[0, 0] == -1
        return [table[0, 1 + row * new[1] + column].item() for row, column in places]

    places = [(0, 0), (0, 7), (1, 1), (5, 3), (15, 7)]
    expected = [0.375, 12.625, 13.5, 66.0, 194.625]
    assert entries((14, 14), (16, 8), places) == pytest.approx(expected, abs=1e-5)
    places = [(0, 0), (1, 1), (5, 3)]
    assert entries((16, 8), (24, 8), places) == pytest.approx([0, 5, 28.333333], abs=1e-5)
    assert entries((16, 8), (21, 10), places[1:]) == pytest.approx([5.842857, 31.823810], abs=1e-5)
    bicubic = [
        entries(old, new, [(1, 1)], interpolation="bicubic")[0]
        for old, new in (((14, 14), (16, 8)), ((16, 8), (24, 8)), ((16, 8), (21, 10)))
    ]
    assert bicubic == pytest.approx([12.574585, 4.25, 4.999234], abs=1e-5)


def slow_bilinear(grid, new):
    """Every new entry from the four around its center."""
    (height, width), out = grid.shape[:2], torch.empty(*new, grid.shape[2])
    for row in range(new[0]):
        for column in range(new[1]):
            y = min(max((row + 0.5) * height / new[0] - 0.5, 0), height - 1)
            x = min(max((column + 0.5) * width / new[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            low, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = grid[top, left] * (1 - x + left) + grid[top, right] * (x - left)
            below = grid[low, left] * (1 - x + left) + grid[low, right] * (x - left)
            out[row, column] = above * (1 - y + top) + below * (y - top)
    return out


@pytest.mark.parametrize("old, new, prefix", [((6, 3), (4, 5), 1), ((4, 2), (9, 3), 0)])
def test_a_table_equals_a_slow_loop(old, new, prefix):
    table = torch.randn(1, prefix + old[0] * old[1], 5, generator=torch.Generator().manual_seed(0))
    resized = resize_positions(table, new, prefix, old)
    assert torch.equal(resized[:, :prefix], table[:, :prefix])
    expected = slow_bilinear(table[0, prefix:].reshape(*old, 5), new)
    torch.testing.assert_close(resized[0, prefix:], expected.reshape(-1, 5))


def test_grids_are_inferred():
    grids = {128: (16, 8), 196: (14, 14), 192: (24, 8), 1369: (37, 37), 162: (18, 9), 1: (1, 1)}
    assert {patches: infer_grid(patches) for patches in grids} == grids
    with pytest.raises(InputError, match=r"127 positions.*init_cfg\.grid"):
        infer_grid(127)
    with pytest.raises(InputError, match=r"128 positions and a grid of 7×9 = 63"):
        resize_positions(ramp(16, 8), (4, 4), old_grid=(7, 9))


def test_half_precision_is_read_in_single():
    table = resize_positions(ramp(4, 2).half(), (6, 3))
    assert table.dtype == torch.float32
    torch.testing.assert_close(table, resize_positions(ramp(4, 2), (6, 3)))
