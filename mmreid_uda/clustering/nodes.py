"""What is clustered in place of images, and the way there and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.centering import center_cameras
from mmreid_uda.neighbors.knn import unit_rows
from mmreid_uda.structures import class_means

from .constraints import Constraints

__all__ = ["Nodes"]


@dataclass(frozen=True)
class Nodes:
    """What is clustered in place of N images: M nodes, each of one image or of several that belong together.

    Args:
        features: float32 (M, D), on the device of the images' features.
        of_image: int64 (N,), node of each image, -1 = it takes no part; None = each image is a node.
        centered: int64 (N,), cameras of the images whose means were subtracted; None where none were.
        cameras: int64 (M,), -1 = unknown; None where distances are plain.
        constraints: Between nodes; None for none.
        prepared: What :meth:`Clusterer.prepare` gave; None on ranks that do not cluster.
        info: Figures for the log.
    """

    features: Tensor
    of_image: np.ndarray | None = None
    centered: np.ndarray | None = None
    cameras: np.ndarray | None = None
    constraints: Constraints | None = None
    prepared: dict[str, Any] | None = None
    info: dict[str, float] = field(default_factory=dict)

    def numbers(self, num: int) -> np.ndarray:
        """The node of each image.

        Args:
            num: N.

        Returns:
            int64 (N,), -1 = it takes no part.
        """
        return np.arange(num) if self.of_image is None else self.of_image

    def same_input(self, features: Tensor, cameras: np.ndarray | None) -> bool:
        """Whether these nodes look the same to a clusterer as others.

        Args:
            features: float32 (M, D) of the others.
            cameras: int64 (M,) of the others, or None.

        Returns:
            True where features and cameras are equal.
        """
        if (cameras is None) != (self.cameras is None) or not torch.equal(features, self.features):
            return False
        return cameras is None or self.cameras is None or np.array_equal(cameras, self.cameras)

    def hand_back(self, labels: np.ndarray) -> np.ndarray:
        """Labels of the images.

        Args:
            labels: int64 (M,) of the nodes, -1 = outlier.

        Returns:
            int64 (N,), -1 = outlier.
        """
        if self.of_image is None:
            return labels
        return np.where(self.of_image < 0, -1, labels[self.of_image])

    def between_images(self, graph: sparse.csr_array) -> sparse.csr_array:
        """Distances of the images.

        Args:
            graph: (M, M), of the nodes.

        Returns:
            (N, N); zeros stay stored, and images without a node have none.
        """
        if self.of_image is None:
            return graph
        num = graph.shape[0]
        # Behind the nodes stands one without distances, for the images that take no part.
        padded = sparse.csr_array(
            (graph.data, graph.indices, np.append(graph.indptr, graph.nnz)),
            shape=(num + 1, num + 1),
        )
        numbers = np.where(self.of_image < 0, num, self.of_image)
        images = padded[numbers][:, numbers]
        images.sort_indices()
        return images

    def first(self, values: np.ndarray) -> np.ndarray:
        """What is known of the first image of each node.

        Args:
            values: (N, ...) of the images.

        Returns:
            (M, ...).
        """
        if self.of_image is None:
            return values
        numbers, first = np.unique(self.of_image, return_index=True)
        return values[first[numbers >= 0]]

    def pool(self, features: Tensor) -> Tensor:
        """Features of the nodes from other features of the same images, in the way that :attr:`features` came about.

        Args:
            features: float32 (N, D), no zero rows.

        Returns:
            float32 (M, D), of unit norm wherever anything was changed.
        """
        if self.centered is not None:
            features = center_cameras(unit_rows(features), torch.from_numpy(self.centered))
        if self.of_image is None:
            return features
        num = int(self.of_image.max()) + 1
        means = class_means(unit_rows(features), torch.from_numpy(self.of_image), num)
        return F.normalize(means, dim=1)
