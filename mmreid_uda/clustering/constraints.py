"""What must, and what cannot be one cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Constraints"]


@dataclass(frozen=True)
class Constraints:
    """Constraints between M nodes, free of contradictions.

    Args:
        sizes: int64 (M,), images of each node.
        groups: int64 (M,), nodes that must be one cluster share a number 0.., in the order of their first nodes.
        cannot: int64 (C, 2), pairs of groups that cannot be one cluster, each once, the smaller number first.
    """

    sizes: np.ndarray
    groups: np.ndarray
    cannot: np.ndarray
