"""Small helpers used by every room."""

from .errors import InputError
from .memory import parse_size
from .seeding import SeededIndex, make_rng

__all__ = ["InputError", "SeededIndex", "make_rng", "parse_size"]
