"""Features in, pseudo-labels out: neighbours, distances, clusterers, refiners and their quality; arrays only."""

from .agglomerative import Agglomerative
from .camera_choice import choose_camera, one_camera_share
from .confident import ConfidentLabels
from .constraints import Constraints, consistent_links, make_constraints, time_conflicts
from .dbscan import JaccardDBSCAN, dbscan
from .eps import rho_eps, stores_share
from .hdbscan import HDBSCAN
from .health import HealthWarning, health_warnings, label_agreement, label_health, rank_correlations
from .infomap import InfoMap
from .jaccard_clusterer import JaccardClusterer
from .kmeans import KMeans, kmeans_plus_plus
from .label_free import Choice, k2_for, label_score, split_features
from .labels import Clusterer, GroundTruthLabels, renumber
from .linkage import ConstrainedLinkage, average_linkage
from .nodes import Nodes
from .quality import cluster_quality, cluster_statistics
from .refiners import AssignOutliers, DropLooseMembers, DropSmallClusters
from .sweep import SweepResult, sweep_dbscan, sweep_kmeans
from .with_evidence import EvidenceClustering

__all__ = [
    "HDBSCAN",
    "Agglomerative",
    "AssignOutliers",
    "Choice",
    "Clusterer",
    "ConfidentLabels",
    "ConstrainedLinkage",
    "Constraints",
    "DropLooseMembers",
    "DropSmallClusters",
    "EvidenceClustering",
    "GroundTruthLabels",
    "HealthWarning",
    "InfoMap",
    "JaccardClusterer",
    "JaccardDBSCAN",
    "KMeans",
    "Nodes",
    "SweepResult",
    "average_linkage",
    "choose_camera",
    "cluster_quality",
    "cluster_statistics",
    "consistent_links",
    "dbscan",
    "health_warnings",
    "k2_for",
    "kmeans_plus_plus",
    "label_agreement",
    "label_health",
    "label_score",
    "make_constraints",
    "one_camera_share",
    "rank_correlations",
    "renumber",
    "rho_eps",
    "split_features",
    "stores_share",
    "sweep_dbscan",
    "sweep_kmeans",
    "time_conflicts",
]
