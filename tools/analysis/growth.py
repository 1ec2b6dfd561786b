"""How the cost of a step grows with the number of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["fitted_exponent"]


def fitted_exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """Exponent e of ``cost ~ size**e``: the slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
