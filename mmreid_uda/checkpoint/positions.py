"""Tables of positions, a row for each patch, from the grid of one image size to that of another."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.utils import InputError

__all__ = ["Interpolation", "infer_grid", "position_tables", "resize_positions"]

Interpolation = Literal["bilinear", "bicubic"]
"""How a table is read between its entries."""

_RATIOS = (2, 1, 3, 4)


def infer_grid(patches: int) -> tuple[int, int]:
    """Rows and columns of a table without its shape: images of people are 2:1, ImageNet's 1:1, large people 3:1.

    Args:
        patches: How many patches it has.

    Returns:
        ``(h, w)`` with ``h * w == patches``, of the first ratio h/w out of 2, 1, 3, 4 that fits.

    Raises:
        InputError: None fits.
    """
    for ratio in _RATIOS:
        height = math.isqrt(patches * ratio)
        width = height // ratio
        if height * width == patches:
            return height, width
    raise InputError(
        f"found a table of {patches} positions, expected a grid with height/width of one of "
        f"{', '.join(map(str, _RATIOS))}: give its rows and columns, init_cfg.grid=(h, w)."
    )


def resize_positions(
    table: Tensor,
    grid: tuple[int, int],
    prefix: int = 1,
    old_grid: tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Read a table of positions at another grid: pixel centers aligned, not corners, and without smoothing.

    TransReID-SSL, PASS and CLIP-ReID read bilinearly; so does this, unless told otherwise.

    Args:
        table: (1, prefix + h·w, D), rows of the grid one after the other.
        grid: Rows and columns that are wanted.
        prefix: Entries before the patches, of the class token and the like, which stay. Defaults to 1.
        old_grid: ``(h, w)``. Defaults to None: see :func:`infer_grid`.
        interpolation: ``'bilinear'`` or ``'bicubic'``. Defaults to ``'bilinear'``.

    Returns:
        float32 (1, prefix + grid[0]·grid[1], D).

    Raises:
        InputError: The table is not of ``old_grid``, or of no grid.
    """
    tokens, patches = table[:, :prefix].float(), table[:, prefix:].float()
    height, width = old_grid or infer_grid(patches.shape[1])
    if height * width != patches.shape[1]:
        raise InputError(
            f"found a table of {patches.shape[1]} positions and a grid of {height}×{width} = {height * width}: correct "
            "init_cfg.grid."
        )
    maps = patches.reshape(1, height, width, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=tuple(grid), mode=interpolation, align_corners=False)
    return torch.cat([tokens, maps.flatten(2).transpose(1, 2)], dim=1)


def position_tables(module: nn.Module) -> dict[str, tuple[tuple[int, int], int]]:
    """The tables of positions inside a module: those of transformers with a ``pos_embed`` and a ``patch_embed``.

    Args:
        module: Any tree of modules.

    Returns:
        Name in the module's state dict -> rows and columns of the grid, and entries before it.
    """
    tables = {}
    for path, part in module.named_modules():
        table = getattr(part, "pos_embed", None)
        grid = getattr(getattr(part, "patch_embed", None), "grid_size", None)
        if isinstance(table, Tensor) and table.dim() == 3 and grid is not None:
            name = f"{path}.pos_embed" if path else "pos_embed"
            tables[name] = (tuple(grid), table.shape[1] - grid[0] * grid[1])
    return tables
