"""Features in, pseudo-labels out: neighbours, distances, clusterers, refiners and their quality; arrays only."""

from .dbscan import JaccardDBSCAN, dbscan
from .infomap import InfoMap
from .jaccard import (
    add_source_term,
    encode,
    expand_queries,
    expand_sets,
    jaccard_distances,
    jaccard_encodings,
    jaccard_from_encodings,
    jaccard_graph,
    k_reciprocal_sets,
    neighbours_needed,
    rho_eps,
    source_distances,
    stores_share,
)
from .kmeans import KMeans, kmeans_plus_plus
from .knn import Neighbours, find_neighbours, knn, unit_rows
from .labels import Clusterer, GroundTruthLabels, check_features, renumber
from .quality import cluster_quality
from .refiners import AssignOutliers, DropLooseMembers, DropSmallClusters, cluster_centroids

__all__ = [
    "AssignOutliers",
    "Clusterer",
    "DropLooseMembers",
    "DropSmallClusters",
    "GroundTruthLabels",
    "InfoMap",
    "JaccardDBSCAN",
    "KMeans",
    "Neighbours",
    "add_source_term",
    "check_features",
    "cluster_centroids",
    "cluster_quality",
    "dbscan",
    "encode",
    "expand_queries",
    "expand_sets",
    "find_neighbours",
    "jaccard_distances",
    "jaccard_encodings",
    "jaccard_from_encodings",
    "jaccard_graph",
    "k_reciprocal_sets",
    "kmeans_plus_plus",
    "knn",
    "neighbours_needed",
    "renumber",
    "rho_eps",
    "source_distances",
    "stores_share",
    "unit_rows",
]
