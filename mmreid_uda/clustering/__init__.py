"""Features in, pseudo-labels out: neighbours, distances, clusterers, refiners and their quality; arrays only."""

from .agglomerative import Agglomerative
from .confident import ConfidentLabels
from .dbscan import JaccardDBSCAN, dbscan
from .eps import rho_eps, stores_share
from .hdbscan import HDBSCAN
from .infomap import InfoMap
from .jaccard_clusterer import JaccardClusterer
from .kmeans import KMeans, kmeans_plus_plus
from .labels import Clusterer, GroundTruthLabels, renumber
from .quality import cluster_quality, cluster_statistics
from .refiners import AssignOutliers, DropLooseMembers, DropSmallClusters
from .sweep import SweepResult, sweep_dbscan, sweep_kmeans

__all__ = [
    "HDBSCAN",
    "Agglomerative",
    "AssignOutliers",
    "Clusterer",
    "ConfidentLabels",
    "DropLooseMembers",
    "DropSmallClusters",
    "GroundTruthLabels",
    "InfoMap",
    "JaccardClusterer",
    "JaccardDBSCAN",
    "KMeans",
    "SweepResult",
    "cluster_quality",
    "cluster_statistics",
    "dbscan",
    "kmeans_plus_plus",
    "renumber",
    "rho_eps",
    "stores_share",
    "sweep_dbscan",
    "sweep_kmeans",
]
