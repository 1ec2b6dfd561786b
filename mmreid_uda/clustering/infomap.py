"""Clusters as modules of random walks on the neighbour graph (InfoMap), the alternative of Cluster-Contrast."""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from mmreid_uda.neighbors.knn import find_neighbors, unit_rows
from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, check_vectors, make_rng
from mmreid_uda.utils.packages import import_package
from mmreid_uda.utils.values import Natural

from .labels import Clusterer, drop_small

__all__ = ["InfoMap"]


@CLUSTERERS.register_module()
class InfoMap(Clusterer):
    """InfoMap on the directed graph of similar neighbours (Rosvall & Bergstrom, PNAS 2008).

    An image links to its nearest neighbours as long as their cosine reaches ``min_similarity``, with the cosine as
    weight. The two-level map equation of the ``infomap`` package finds the modules; modules of at most ``k2`` images,
    and images without a link, become outliers.

    :attr:`info` has ``min_similarity`` (the one used) and ``mean_degree`` (links per image).

    Args:
        k1: Neighbours looked at, the image itself included. Defaults to 15.
        k2: Largest size of a module that is *not* a cluster. Defaults to 4.
        min_similarity: Smallest cosine of a link, in (-1, 1). Defaults to 0.5.

    Raises:
        InputError: If a parameter is out of range, or the package ``infomap`` is missing or too old.

    Example:
        >>> clusterer = dict(type='InfoMap', k1=15, k2=4, min_similarity=0.5)
    """

    def __init__(
        self,
        k1: Annotated[int, Ge(2)] = 15,
        k2: Natural = 4,
        min_similarity: Annotated[float, Gt(-1), Lt(1)] = 0.5,
    ) -> None:
        super().__init__()
        self.k1, self.k2, self.min_similarity = k1, k2, min_similarity
        _import_infomap()  # complain when the config is read, not after an extraction

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Find the neighbours, on the device of the features; every rank takes a share of the blocks."""
        rows = unit_rows(check_vectors(features, "features to cluster"))
        neighbors = find_neighbors(rows, min(self.k1, len(rows)), over_ranks=over_ranks)
        return None if neighbors is None else dict(neighbors=neighbors)

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Cluster; ``eps_scale`` multiplies the largest cosine distance of a link, ``1 - min_similarity``."""
        indices = extras["neighbors"].indices
        similarities = extras["neighbors"].similarities
        min_similarity = 1 - (1 - self.min_similarity) * eps_scale
        linked = similarities >= min_similarity
        linked[:, 0] = False  # the image itself
        rows, ranks = np.nonzero(linked)
        self.info = dict(min_similarity=min_similarity, mean_degree=len(rows) / len(features))
        if not len(rows):
            return np.full(len(features), -1)
        links = np.column_stack([rows, indices[rows, ranks], similarities[rows, ranks]])
        engine = _import_infomap().Infomap(
            two_level=True,
            directed=True,
            silent=True,
            seed=int(make_rng(seed, epoch, "infomap").integers(1, 2**31)),
        )
        engine.add_links(links)
        modules = dict(engine.run().modules())
        labels = np.array([modules.get(image, -1) for image in range(len(features))])
        return drop_small(labels, self.k2 + 1)


def _import_infomap() -> Any:
    """The package ``infomap``, with the interface used here."""
    # Both are made by SWIG and share its classes: infomap's iterators get the class of whichever was imported last, and
    # with that of faiss the process dies (infomap 2.16, faiss-cpu 1.15).
    if "infomap" not in sys.modules:
        with contextlib.suppress(ImportError):
            import_module("faiss")
    infomap = import_package(
        "infomap",
        "the clusterer InfoMap",
        "mmreid_uda[infomap]",
        "choose clusterer type 'JaccardDBSCAN'",
    )
    if not hasattr(infomap, "Result"):
        raise InputError(
            f"found infomap {infomap.__version__}, expected 2.16 or newer: pip install -U infomap."
        )
    return infomap
