"""Small helpers used by every room."""

from .errors import InputError
from .seeding import SeededIndex, make_rng

__all__ = ["InputError", "SeededIndex", "make_rng"]
