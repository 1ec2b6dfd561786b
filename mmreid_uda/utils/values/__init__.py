"""Values held against annotations: recipe keys, the keys of ``dict(type=...)``, arguments of constructors.

What an argument may be is written once, where it is declared; ranges and choices are part of the annotation::

    def __init__(self, eps: Annotated[float, Gt(0), Lt(1)] | Literal["rho"] = 0.6, k1: Count = 30) -> None: ...

:func:`fit` holds one value against one annotation. :func:`checked` makes a function or class do so with what it is
called with; classes that are registered in a registry of this package are checked without being asked
(:mod:`mmreid_uda.registry`), and :func:`mmreid_uda.config.load_config` does it for a whole config before anything is
built. Only values that a config can hold are judged: a tensor, a module or a function passes everywhere.

A text inside ``Annotated`` says what is expected where types and limits say it badly. The words for ranges are those
of the package ``annotated_types``, which pydantic reads too.
"""

from __future__ import annotations

from collections import abc
from typing import Annotated

from annotated_types import Ge, Gt, Le, Len, Lt

from .arguments import Argument, arguments_of, checked
from .fitting import Misfit, fit, require_fit
from .words import closest, describe, shortened

__all__ = [
    "RGB",
    "Argument",
    "Count",
    "Fraction",
    "FractionBelowOne",
    "ImageSize",
    "Misfit",
    "Natural",
    "NonNegative",
    "OpenFraction",
    "Positive",
    "PositiveFraction",
    "PositiveRGB",
    "arguments_of",
    "checked",
    "closest",
    "describe",
    "fit",
    "require_fit",
    "shortened",
]

Count = Annotated[int, Ge(1)]
"""A whole number of at least 1."""
Natural = Annotated[int, Ge(0)]
"""A whole number of at least 0."""
Positive = Annotated[float, Gt(0)]
"""A number above 0."""
NonNegative = Annotated[float, Ge(0)]
"""A number of at least 0."""
Fraction = Annotated[float, Ge(0), Le(1)]
"""A share, 0..1."""
OpenFraction = Annotated[float, Gt(0), Lt(1)]
"""A share strictly between 0 and 1."""
PositiveFraction = Annotated[float, Gt(0), Le(1)]
"""A share above 0, up to 1."""
FractionBelowOne = Annotated[float, Ge(0), Lt(1)]
"""A share from 0 to below 1."""
ImageSize = Annotated[abc.Sequence[Count], Len(2, 2), "2 numbers, height and width in pixels"]
"""Height and width."""
RGB = Annotated[abc.Sequence[float], Len(3, 3), "3 numbers, of R, G and B"]
"""A value for each colour."""
PositiveRGB = Annotated[abc.Sequence[Positive], Len(3, 3), "3 numbers above 0, of R, G and B"]
"""What each colour is divided by."""
