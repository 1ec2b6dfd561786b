"""Nearest neighbours: exact and approximate search, indices, k-reciprocal graphs; arrays only."""

from .approximate import (
    find_camera_neighbors_approximately,
    find_neighbors_approximately,
    find_neighbors_in_file,
)
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
    find_camera_neighbors,
    find_neighbors,
    knn,
    unit_rows,
)
from .lists import CameraNeighbors, Neighbors
from .neighbor_file import features_sample, read_neighbors, write_neighbors
from .vector_index import VectorIndex

__all__ = [
    "CameraLists",
    "CameraNeighbors",
    "Neighbors",
    "VectorIndex",
    "add_source_term",
    "center_cameras",
    "features_sample",
    "find_camera_neighbors",
    "find_camera_neighbors_approximately",
    "find_neighbors",
    "find_neighbors_approximately",
    "find_neighbors_in_file",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "knn",
    "neighbors_needed",
    "read_neighbors",
    "source_distances",
    "unit_rows",
    "write_neighbors",
]
