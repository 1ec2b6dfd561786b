"""Features in, pseudo-labels out: neighbours, distances, clusterers, refiners and their quality; arrays only."""

from .agglomerative import Agglomerative
from .approximate import find_neighbours_approximately
from .confident import ConfidentLabels
from .dbscan import JaccardDBSCAN, dbscan
from .eps import rho_eps, stores_share
from .hdbscan import HDBSCAN
from .infomap import InfoMap
from .jaccard import (
    add_source_term,
    jaccard_distances,
    jaccard_encodings,
    jaccard_from_encodings,
    jaccard_graph,
    neighbours_needed,
    source_distances,
)
from .jaccard_clusterer import JaccardClusterer
from .kmeans import KMeans, kmeans_plus_plus
from .knn import Neighbours, find_neighbours, knn, unit_rows
from .labels import Clusterer, GroundTruthLabels, renumber
from .quality import cluster_quality
from .refiners import AssignOutliers, DropLooseMembers, DropSmallClusters, cluster_centroids
from .sweep import SweepResult, sweep_dbscan, sweep_kmeans
from .vector_index import IndexKind, VectorIndex

__all__ = [
    "HDBSCAN",
    "Agglomerative",
    "AssignOutliers",
    "Clusterer",
    "ConfidentLabels",
    "DropLooseMembers",
    "DropSmallClusters",
    "GroundTruthLabels",
    "IndexKind",
    "InfoMap",
    "JaccardClusterer",
    "JaccardDBSCAN",
    "KMeans",
    "Neighbours",
    "SweepResult",
    "VectorIndex",
    "add_source_term",
    "cluster_centroids",
    "cluster_quality",
    "dbscan",
    "find_neighbours",
    "find_neighbours_approximately",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "kmeans_plus_plus",
    "knn",
    "neighbours_needed",
    "renumber",
    "rho_eps",
    "source_distances",
    "stores_share",
    "sweep_dbscan",
    "sweep_kmeans",
    "unit_rows",
]
