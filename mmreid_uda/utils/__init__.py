"""Small helpers used by every module."""

from .errors import InputError, in_a_line, place_of, raised_here, sentence_about
from .memory import keep_freed_memory, parse_size
from .parallel import (
    in_threads,
    kernels_available,
    loading_processes,
    num_cores,
    num_threads,
    over_rows,
    single_threaded_products,
    without_kernels,
)
from .precision import full_precision
from .seeding import SeededIndex, make_rng
from .vectors import check_vectors

__all__ = [
    "InputError",
    "SeededIndex",
    "check_vectors",
    "full_precision",
    "in_a_line",
    "in_threads",
    "keep_freed_memory",
    "kernels_available",
    "loading_processes",
    "make_rng",
    "num_cores",
    "num_threads",
    "over_rows",
    "parse_size",
    "place_of",
    "raised_here",
    "sentence_about",
    "single_threaded_products",
    "without_kernels",
]
