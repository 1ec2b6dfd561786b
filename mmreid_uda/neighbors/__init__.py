"""Nearest neighbours: exact and approximate search, indices, k-reciprocal graphs; arrays only."""

from .approximate import find_neighbors_approximately
from .cameras import CameraLists
from .centering import center_cameras
from .jaccard import (
    add_source_term,
    jaccard_distances,
    jaccard_encodings,
    jaccard_from_encodings,
    jaccard_graph,
    neighbors_needed,
    source_distances,
)
from .knn import (
    CameraNeighbors,
    Neighbors,
    find_camera_neighbors,
    find_neighbors,
    knn,
    unit_rows,
)
from .vector_index import VectorIndex

__all__ = [
    "CameraLists",
    "CameraNeighbors",
    "Neighbors",
    "VectorIndex",
    "add_source_term",
    "center_cameras",
    "find_camera_neighbors",
    "find_neighbors",
    "find_neighbors_approximately",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "knn",
    "neighbors_needed",
    "source_distances",
    "unit_rows",
]
