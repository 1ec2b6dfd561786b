"""A clusterer, and what it is told of the images beside their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmreid_uda.neighbors.centering import center_cameras
from mmreid_uda.neighbors.knn import unit_rows
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.choices import CAMERA_MODES, CameraMode
from mmreid_uda.utils.values import checked

from .camera_choice import choose_camera
from .constraints import Constraints
from .labels import Clusterer

__all__ = ["EvidenceClustering", "Nodes"]


@dataclass(frozen=True)
class Nodes:
    """What is clustered in place of N images: M nodes, each of one image or of several that belong together.

    Args:
        features: float32 (M, D), on the device of the images' features.
        of_image: int64 (N,), node of each image, -1 = it takes no part; None = each image is a node.
        cameras: int64 (M,), -1 = unknown; None where distances are plain.
        constraints: Between nodes; None for none.
        prepared: What :meth:`Clusterer.prepare` gave; None on ranks that do not cluster.
        info: Figures for the log.
    """

    features: Tensor
    of_image: np.ndarray | None
    cameras: np.ndarray | None
    constraints: Constraints | None
    prepared: dict[str, Any] | None
    info: dict[str, float]

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


@checked
class EvidenceClustering:
    """Cluster with a clusterer, and let what is known of the images speak: cameras, tracklets, times, links.

    ``features -> centered per camera -> nodes -> clusterer (camera-aware distances, constraints) -> labels of images``.
    Without evidence, or with all switched off, the labels are those of the clusterer alone.

    :attr:`info` has the clusterer's figures and ``nodes`` where images were put together.

    Args:
        clusterer: Features in, labels out.
        camera: ``'none'`` (default), ``'center'`` (subtract the mean feature of each camera), ``'jaccard'``
            (camera-aware Jaccard distance), ``'both'``, or ``'auto'``: at the first clustering, choose by a label-free
            sign and keep the choice.

    Attributes:
        chosen: The use of cameras; None until ``'auto'`` is decided by :meth:`choose`.

    Raises:
        InputError: If an argument is not as expected, or the clusterer cannot be camera-aware.
    """

    def __init__(
        self,
        clusterer: Clusterer,
        camera: CameraMode | Literal["auto"] = "none",
    ) -> None:
        if camera in ("jaccard", "both") and not clusterer.camera_aware:
            raise InputError(
                f"found evidence.camera={camera!r} with {type(clusterer).__name__}, whose distances know no cameras: "
                "set evidence.camera='center', or clusterer.type='JaccardDBSCAN'."
            )
        self.clusterer = clusterer
        self.camera: str = camera
        self.chosen: CameraMode | None = None if camera == "auto" else camera
        self.info: dict[str, float] = {}

    @property
    def requires(self) -> tuple[str, ...]:
        """As :attr:`Clusterer.requires`."""
        return self.clusterer.requires

    def prepare(
        self,
        features: np.ndarray | Tensor,
        evidence: Evidence | None = None,
        *,
        camera: CameraMode | None = None,
        over_ranks: bool = False,
    ) -> Nodes:
        """Make the nodes, and find their neighbours.

        Args:
            features: float (N, D), the same on every rank, on any device.
            evidence: Of these images; None = nothing is known.
            camera: In place of the one configured or chosen.
            over_ranks: Share the work among all ranks, which must all call this.

        Returns:
            The nodes.

        Raises:
            InputError: If the features cannot be clustered.
        """
        features = torch.as_tensor(check_vectors(features, "features to cluster"))
        mode = camera or self.chosen or "none"
        aware = None
        of_image: np.ndarray | None = None
        if evidence is not None:
            if mode in ("center", "both"):
                rows = torch.as_tensor(unit_rows(features))
                features = center_cameras(rows, torch.from_numpy(evidence.cameras))
            if mode in ("jaccard", "both"):
                aware = evidence.cameras
        prepared = self.clusterer.prepare(features, over_ranks=over_ranks, cameras=aware)
        return Nodes(features, of_image, aware, None, prepared, {})

    def __call__(
        self,
        nodes: Nodes,
        *,
        seed: int,
        epoch: int,
        eps_scale: float = 1.0,
        **extras: np.ndarray | None,
    ) -> np.ndarray:
        """Cluster nodes, and label their images.

        Args:
            nodes: Of :meth:`prepare`.
            seed: As for :class:`Clusterer`.
            epoch: As for :class:`Clusterer`.
            eps_scale: As for :class:`Clusterer`.
            **extras: As for :class:`Clusterer`.

        Returns:
            int64 (N,), ``0..K-1`` without gaps, -1 = outlier.
        """
        labels = self.clusterer(
            nodes.features.cpu().numpy(),
            seed=seed,
            epoch=epoch,
            eps_scale=eps_scale,
            prepared=nodes.prepared,
            cameras=nodes.cameras,
            constraints=nodes.constraints,
            **extras,
        )
        self.info = {**nodes.info, **self.clusterer.info}
        return nodes.hand_back(labels)

    def choose(
        self, features: np.ndarray | Tensor, evidence: Evidence, **options: Any
    ) -> tuple[CameraMode, dict[str, float]]:
        """What ``camera='auto'`` stands for: cluster with every use of cameras and compare, see :func:`choose_camera`.

        Args:
            features: As in :meth:`prepare`.
            evidence: As in :meth:`prepare`.
            **options: As in :meth:`__call__`: seed, epoch, extras.

        Returns:
            The use of cameras, to be set as :attr:`chosen`; and figures for the log.
        """
        if not evidence.has_cameras:
            return "none", {}

        def label(mode: CameraMode) -> np.ndarray:
            return self(self.prepare(features, evidence, camera=mode), **options)

        modes = CAMERA_MODES if self.clusterer.camera_aware else CAMERA_MODES[:2]
        return choose_camera(label, evidence.cameras, modes)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs.

        Returns:
            The clusterer's state, and the use of cameras that was chosen.
        """
        return dict(clusterer=self.clusterer.state_dict(), camera=self.chosen)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of :meth:`state_dict`; a state of 0.2.0 is the clusterer's alone.

        Args:
            state: As it was saved.
        """
        if "clusterer" not in state:
            self.clusterer.load_state_dict(state)
            return
        self.clusterer.load_state_dict(state["clusterer"])
        if self.camera == "auto":
            self.chosen = state["camera"]
