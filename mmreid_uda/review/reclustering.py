"""Labels of given features by the clusterer of a run, without its training."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmreid_uda.clustering import EvidenceClustering, Nodes
from mmreid_uda.structures import Evidence

__all__ = ["Reclustering"]


@dataclass(frozen=True)
class Reclustering:
    """How labels are made of features and evidence.

    Args:
        clustering: The clusterer with what it is told.
        refiners: Applied to the labels, in order.
        seed: Of the clusterer.
        epoch: That the clusterer takes it to be.
        answers: What the clusterer requires beside features, by name.
    """

    clustering: EvidenceClustering
    refiners: Sequence = ()
    seed: int = 1
    epoch: int = 1
    answers: Mapping[str, np.ndarray | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _nodes: list[Nodes] = field(default_factory=list, init=False, repr=False)

    def __call__(
        self, features: np.ndarray, evidence: Evidence, eps_scale: float = 1.0
    ) -> np.ndarray:
        """Cluster; what is chosen at a first clustering (``'auto'``) stays chosen.

        Args:
            features: float32 (N, D).
            evidence: Of the images, with links.
            eps_scale: Factor on the clusterer's radius. Defaults to 1.

        Returns:
            int64 (N,), -1 = outlier.
        """
        options: dict[str, Any] = dict(seed=self.seed, epoch=self.epoch, **self.answers)
        with self._lock:
            if self.clustering.chosen is None:
                self.clustering.chosen, _ = self.clustering.choose(features, evidence, **options)
            # Neighbours are searched anew only where links have changed what the nodes are.
            known = self._nodes.pop() if self._nodes else None
            nodes = self.clustering.prepare(features, evidence, known=known)
            self._nodes.append(nodes)
            labels = self.clustering(nodes, eps_scale=eps_scale, **options)
            for refiner in self.refiners:
                labels = refiner(labels, features)
        return labels
