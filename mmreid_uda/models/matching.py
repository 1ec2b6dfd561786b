"""Tensors of a checkpoint held against those of a module: which fill which, what is missing, what differs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from mmreid_uda.checkpoint import Interpolation, resize_positions
from mmreid_uda.utils import InputError

__all__ = [
    "COUNTERS",
    "Misfits",
    "best_prefixes",
    "choose_prefix",
    "compare",
    "find_sources",
    "resize_tables",
    "shape_difference",
]

COUNTERS = "num_batches_tracked"
"""End of the names of counters that old checkpoints lack and no feature depends on."""


class Misfits(NamedTuple):
    """Names by what is wrong with them, when a module meets tensors of its names."""

    missing: list[str]
    foreign: list[str]
    reshaped: list[str]


def compare(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], resizing: Collection[str] = ()
) -> Misfits:
    """What a module has and a checkpoint lacks (counters aside), the other way round, and what has another shape.

    Args:
        own: State dict of the module.
        state: Of the checkpoint, in the module's names.
        resizing: Names whose shape may differ.

    Returns:
        The names, in the module's order and in the checkpoint's.
    """
    return Misfits(
        missing=[name for name in own if name not in state and not name.endswith(COUNTERS)],
        foreign=[name for name in state if name not in own],
        reshaped=[
            name
            for name, tensor in own.items()
            if name in state and tensor.shape != state[name].shape and name not in resizing
        ],
    )


def best_prefixes(names: Iterable[str], wanted: set[str]) -> list[str]:
    """Prefixes under which the most of the ``wanted`` names occur among ``names``; several if they tie, [] if none.

    Args:
        names: Of the checkpoint.
        wanted: Of the module.

    Returns:
        Prefixes that end with a dot, or ``''``.
    """
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in wanted:
                counts["".join(f"{part}." for part in parts[:cut])] += 1
    best = max(counts.values(), default=0)
    return [prefix for prefix, count in counts.items() if count == best]


def find_sources(wanted: Mapping[str, str], available: Mapping[str, Tensor]) -> dict[str, str]:
    """Which tensor of a checkpoint fills which of the module: the one of the same name.

    For a :class:`~mmreid_uda.models.layers.DomainBN`, whose tensors are ``bn1.source.weight`` and
    ``bn1.target.weight``, a plain ``bn1.weight`` fills both.

    Args:
        wanted: Names of the module -> these names as a checkpoint may have them.
        available: Tensors of the checkpoint, in the module's words.

    Returns:
        Name of the module -> name of the checkpoint; what has no source is left out.
    """
    sources = {}
    for name, known in wanted.items():
        shared = re.sub(r"\.(source|target)(\.\w+)$", r"\2", known)
        if known in available or shared in available:
            sources[name] = known if known in available else shared
    return sources


def choose_prefix(names: Iterable[str], wanted: set[str], kind: str, source: str) -> str:
    """The prefix under which a checkpoint holds a module.

    Args:
        names: Of the checkpoint.
        wanted: Of the module.
        kind: What the module is, for a sentence.
        source: What the checkpoint is, for a sentence.

    Returns:
        The one of :func:`best_prefixes`.

    Raises:
        InputError: There is none, or there are several.
    """
    candidates = best_prefixes(names, wanted)
    if not candidates:
        raise InputError(
            f"{source} holds none of the {len(wanted)} tensors of {kind}: choose the checkpoint of this architecture "
            "in init_cfg.checkpoint."
        )
    if len(candidates) > 1:
        raise InputError(
            f"{source} holds {len(candidates)} sets of weights that fit {kind} equally well, under "
            f"{', '.join(repr(c) for c in candidates[:4])}: choose one with init_cfg.prefix."
        )
    return candidates[0]


def resize_tables(
    tables: Mapping[str, tuple[tuple[int, int], int]],
    own: Mapping[str, Tensor],
    state: dict[str, Tensor],
    grid: tuple[int, int] | None,
    interpolation: Interpolation,
) -> list[str]:
    """Bring the tables of positions in ``state`` to the grids of the module, in place.

    Args:
        tables: See :func:`~mmreid_uda.checkpoint.position_tables`.
        own: State dict of the module.
        state: Of the checkpoint, in the module's names.
        grid: Of the checkpoint's tables, if it is known.
        interpolation: See :func:`~mmreid_uda.checkpoint.resize_positions`.

    Returns:
        Names of those that changed.
    """
    resized = []
    for name, (own_grid, prefix) in tables.items():
        table = state.get(name)
        if table is None or table.dim() != 3 or table.shape[-1] != own[name].shape[-1]:
            continue
        if table.shape != own[name].shape or (grid is not None and tuple(grid) != own_grid):
            state[name] = resize_positions(table, own_grid, prefix, grid, interpolation)
            resized.append(name)
    return resized


def shape_difference(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What two transformers of different shapes differ in.

    Args:
        own: State dict of the module.
        state: Of the checkpoint, in the module's names.

    Returns:
        Words in brackets for the middle of a sentence; empty if it cannot be told.
    """
    differing = {
        "width": r"(?:^|\.)(?:cls_token|patch_embed\.proj\.bias)$",
        "patch size": r"(?:^|\.)patch_embed\.proj\.weight$",
    }
    said = []
    for what, pattern in differing.items():
        for name in (one for one in state if re.search(pattern, one)):
            pair = [tuple(one[name].shape) for one in (state, own)]
            old, new = [one[2:] if what == "patch size" else one[-1:] for one in pair]
            text = f"{what} {'×'.join(map(str, old))}, not {'×'.join(map(str, new))}"
            if old != new and text not in said:
                said.append(text)
    return f" ({'; '.join(said)})" if said else ""
