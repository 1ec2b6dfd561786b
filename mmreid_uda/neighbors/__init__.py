"""Nearest neighbours: exact and approximate search, indices, k-reciprocal graphs; arrays only."""

from .approximate import (
    find_neighbours_approximately,
)
from .jaccard import (
    add_source_term,
    jaccard_distances,
    jaccard_encodings,
    jaccard_from_encodings,
    jaccard_graph,
    neighbours_needed,
    source_distances,
)
from .knn import (
    Neighbours,
    find_neighbours,
    knn,
    unit_rows,
)
from .vector_index import (
    VectorIndex,
)

__all__ = [
    "Neighbours",
    "VectorIndex",
    "add_source_term",
    "find_neighbours",
    "find_neighbours_approximately",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "knn",
    "neighbours_needed",
    "source_distances",
    "unit_rows",
]
