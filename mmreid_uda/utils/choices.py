"""Words that configs, functions and command lines choose among."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict, get_args

from .values import NonNegative

__all__ = [
    "CAMERA_MODES",
    "DOMAIN_NAMES",
    "INDEX_KINDS",
    "SPLITS",
    "CameraMode",
    "DomainName",
    "EvidenceOptions",
    "IndexKind",
    "Part",
    "Split",
]

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""The splits a re-ID dataset can have; a source-only set has just ``train``."""

DomainName = Literal["source", "target"]
DOMAIN_NAMES: tuple[DomainName, ...] = get_args(DomainName)
"""Names of the domains 0 and 1."""

Part = Literal["train", "test"]
"""Images of a config: its target's training images, or its first test set."""

IndexKind = Literal["flat", "ivf", "hnsw"]
INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
"""How a gallery is searched: exactly, by an inverted file, or by a graph of near vectors."""

CameraMode = Literal["none", "center", "jaccard", "both"]
CAMERA_MODES: tuple[CameraMode, ...] = get_args(CameraMode)
"""What cameras are used for in clustering: nothing, centering of features, camera-aware distances, or both."""


class EvidenceOptions(TypedDict, total=False):
    """Arguments of :class:`~mmreid_uda.clustering.EvidenceClustering`: the recipe key ``evidence``."""

    camera: CameraMode | Literal["auto"]
    links: bool
    tracklets: bool
    time: bool
    min_overlap: NonNegative
    disjoint_cameras: bool | Sequence[Sequence[str | int]]
    cut_tracklets: NonNegative | None
    strict_links: bool
