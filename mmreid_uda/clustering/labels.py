"""What every clusterer shares: checked features in, contiguous labels out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mmreid_uda.registry import CLUSTERERS
from mmreid_uda.utils import InputError, check_vectors

if TYPE_CHECKING:
    from .constraints import Constraints

__all__ = [
    "Clusterer",
    "GroundTruthLabels",
    "components",
    "drop_small",
    "renumber",
    "renumber_by_first",
]


class Clusterer(ABC):
    """Features in, pseudo-labels out: an object that is called once per epoch.

    The call checks the features, hands them to :meth:`cluster` and numbers the labels. A sub-class writes
    :meth:`cluster`, puts figures for the log in :attr:`info`, and returns what must survive a resume from
    :meth:`state_dict`. What can be shared among processes, or serves several calls on the same features, goes into
    :meth:`prepare`. One whose labels come from distances between images gives them by :meth:`graph`.

    Example:
        >>> @CLUSTERERS.register_module()
        ... class OneCluster(Clusterer):
        ...     def cluster(self, features, *, seed, epoch, eps_scale, **extras):
        ...         return np.zeros(len(features), np.int64)
    """

    #: Figures of the last call, for the log.
    info: dict[str, float]
    #: Whether distances can be made with the cameras in mind; then :meth:`cluster` takes ``cameras``.
    camera_aware: bool = False
    #: Of the arrays in :attr:`requires`, those with a row for each image that is clustered, labels or vectors: where
    #: several images are clustered as one, they are put together in the same way.
    per_image: ClassVar[tuple[str, ...]] = ("true_labels", "mirrored_features")
    #: Of the arrays in :attr:`requires`, those that are arguments of :meth:`prepare`, too: where they are given there,
    #: ranks share what is made of them.
    prepared_with: ClassVar[tuple[str, ...]] = ()
    #: Whether :meth:`cluster` takes ``constraints`` and obeys them; for others they are obeyed around it.
    honors_constraints: ClassVar[bool] = False

    def __init__(self) -> None:
        self.info = {}

    @property
    def requires(self) -> tuple[str, ...]:
        """Names of the extra arrays :meth:`__call__` needs: ``'source_features'``, ``'true_labels'``, or none."""
        return ()

    def require_images(self, num: int) -> None:  # noqa: B027 (most read nothing)
        """Refuse before a training what it would be refused for at the first clustering.

        Args:
            num: Images of the target.

        Raises:
            InputError: What the clusterer reads is missing, broken, or of other images.
        """

    def begin(  # noqa: B027 (most need not know)
        self, features: np.ndarray | Tensor, of_image: np.ndarray | None = None
    ) -> None:
        """Be told of all images, before :meth:`prepare` is given what is made of them.

        Args:
            features: float32 (N, D), of the images, on any device.
            of_image: int64 (N,), the row of :meth:`prepare` that each becomes a part of, -1 = none; None = each is one.

        Raises:
            InputError: These are not the images that the clusterer knows of.
        """

    def prepare(
        self,
        features: np.ndarray | Tensor,
        *,
        over_ranks: bool = False,
        cameras: np.ndarray | None = None,
    ) -> dict[str, Any] | None:
        """Do the part of the work that ranks share, and that holds for every radius: the neighbours, say.

        Args:
            features: float32 (N, D), the same on every rank, on any device.
            over_ranks: Share the work among all ranks, which must all call this.
            cameras: As in :meth:`__call__`.

        Returns:
            More arguments for :meth:`cluster`; on other ranks than 0 None, if the work was shared.

        Raises:
            InputError: If the features cannot be clustered.
        """
        return {}

    def __call__(
        self,
        features: np.ndarray,
        *,
        seed: int,
        epoch: int,
        eps_scale: float = 1.0,
        prepared: dict[str, Any] | None = None,
        cameras: np.ndarray | None = None,
        constraints: Constraints | None = None,
        **extras: np.ndarray | None,
    ) -> np.ndarray:
        """Cluster.

        Args:
            features: float (N, D); clusterers that compare directions scale the rows to unit norm themselves.
            seed: Seed of the run; draws come from ``make_rng(seed, epoch, ...)``.
            epoch: Epoch that is about to be trained, 0-based.
            eps_scale: Factor on the radius within which images are neighbours, > 0; above 1 joins more. Clusterers
                without a radius ignore it.
            prepared: What :meth:`prepare` gave for these features and cameras; None prepares them here.
            cameras: int64 (N,), -1 = unknown, for distances with the cameras in mind; None for plain ones.
            constraints: What must, and what cannot be one cluster; None for none.
            **extras: The arrays named in :attr:`requires`; others are ignored.

        Returns:
            int64 (N,), ``0..K-1`` without gaps, -1 = outlier.

        Raises:
            InputError: If the features cannot be clustered, a required array is missing, or cameras are given to a
                clusterer that is not :attr:`camera_aware`.
        """
        features = check_vectors(features, "features to cluster")
        needed = self._needed(extras, cameras)
        self.info = {}
        if prepared is None:
            prepared = self.prepare(features, cameras=cameras) or {}
        if constraints is not None and self.honors_constraints:
            needed["constraints"] = constraints
        labels = self.cluster(
            features, seed=seed, epoch=epoch, eps_scale=eps_scale, **prepared, **needed
        )
        return renumber(labels)

    def distances(
        self,
        features: np.ndarray,
        max_distance: float,
        *,
        seed: int,
        epoch: int,
        prepared: dict[str, Any] | None = None,
        cameras: np.ndarray | None = None,
        **extras: np.ndarray | None,
    ) -> sparse.csr_array:
        """The distances that a call with the same arguments clusters by, up to a limit.

        Args:
            features: As in :meth:`__call__`.
            max_distance: The limit, in (0, 1].
            seed: As in :meth:`__call__`.
            epoch: As in :meth:`__call__`.
            prepared: As in :meth:`__call__`.
            cameras: As in :meth:`__call__`.
            **extras: As in :meth:`__call__`.

        Returns:
            As :meth:`graph`.

        Raises:
            InputError: As :meth:`__call__`, and if the clusterer has no such distances.
        """
        features = check_vectors(features, "features to cluster")
        needed = self._needed(extras, cameras)
        if prepared is None:
            prepared = self.prepare(features, cameras=cameras) or {}
        return self.graph(features, max_distance, seed, epoch=epoch, **prepared, **needed)

    def graph(
        self, features: np.ndarray, max_distance: float, seed: int, **extras: Any
    ) -> sparse.csr_array:
        """The distances between images up to a limit, if labels come from such.

        Args:
            features: float32 (N, D), finite and without zero rows.
            max_distance: The limit, in (0, 1].
            seed: As in :meth:`__call__`.
            **extras: ``epoch``, and what :meth:`cluster` is given besides.

        Returns:
            Symmetric float32 (N, N), sorted indices; the diagonal is always stored, as are zeros, and a pair that is
            not stored is farther away.

        Raises:
            InputError: If the clusterer has none.
        """
        raise self._without_distances()

    def require_distances(self) -> None:
        """Refuse a clusterer without :meth:`graph` before anything is computed.

        Raises:
            InputError: It has none.
        """
        if type(self).graph is Clusterer.graph:
            raise self._without_distances()

    def _without_distances(self) -> InputError:
        return InputError(
            f"found {type(self).__name__}, which makes no graph of distances between images, expected a clusterer on "
            "Jaccard distances: set clusterer.type='JaccardDBSCAN', or another model.type."
        )

    def _needed(
        self, extras: dict[str, np.ndarray | None], cameras: np.ndarray | None
    ) -> dict[str, Any]:
        """Those of the extras that are asked for, and the cameras, as arguments."""
        needed: dict[str, Any] = {name: extras.get(name) for name in self.requires}
        for name, array in needed.items():
            if array is None:
                raise InputError(
                    f"found no {name} for {type(self).__name__}, which was configured to use them: check the datasets "
                    "of the config (`source`, `target`) or change clusterer."
                )
        if cameras is not None:
            if not self.camera_aware:
                raise InputError(
                    f"found cameras for {type(self).__name__}, whose distances know none, expected a clusterer on "
                    "Jaccard distances: set evidence.camera='center', or clusterer.type='JaccardDBSCAN' with "
                    "search='exact' or 'ivf'."
                )
            needed["cameras"] = cameras
        return needed

    @abstractmethod
    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Label float32 (N, D) features, finite and without zero rows.

        Args:
            features: float32 (N, D).
            seed: As in :meth:`__call__`.
            epoch: As in :meth:`__call__`.
            eps_scale: As in :meth:`__call__`.
            **extras: What :meth:`prepare` returned and the arrays named in :attr:`requires`; ``cameras`` and
                ``constraints`` only where they are given and the clusterer says that it takes them.

        Returns:
            int (N,), negative = outlier; any numbering.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on as if never stopped.

        Returns:
            What can be saved in a checkpoint; empty for most.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (most have no state)
        """Take over the state of :meth:`state_dict`.

        Args:
            state: As it was saved.
        """


@CLUSTERERS.register_module()
class GroundTruthLabels(Clusterer):
    """Use the annotated identities as labels: the upper bound of every pseudo-label, and what FAT trains on."""

    @property
    def requires(self) -> tuple[str, ...]:
        """The dataset's ``true_labels``, int64 (N,)."""
        return ("true_labels",)

    def cluster(
        self, features: np.ndarray, *, seed: int, epoch: int, eps_scale: float, **extras: Any
    ) -> np.ndarray:
        """Return ``true_labels``; -1 where an image has none.

        Raises:
            InputError: If there is another number of labels than of features.
        """
        true_labels = extras["true_labels"]
        if len(true_labels) != len(features):
            raise InputError(
                f"found {len(true_labels)} true labels for {len(features)} features, expected one for each."
            )
        return true_labels


def renumber(labels: np.ndarray) -> np.ndarray:
    """Number the clusters ``0..K-1`` without gaps, in the order of their old numbers.

    Args:
        labels: int (N,), negative = outlier.

    Returns:
        int64 (N,), -1 = outlier; the same numbers if they had no gaps.
    """
    labels = np.asarray(labels)
    numbered = np.full(len(labels), -1, np.int64)
    inlier = labels >= 0
    numbered[inlier] = np.unique(labels[inlier], return_inverse=True)[1]
    return numbered


def renumber_by_first(groups: np.ndarray) -> np.ndarray:
    """Number groups ``0, 1, ...`` in the order of their first members.

    Args:
        groups: int (N,), any numbers.

    Returns:
        int64 (N,).
    """
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def components(first: np.ndarray, second: np.ndarray, num: int) -> np.ndarray:
    """Find what hangs together.

    Args:
        first: int (M,), images that are linked with those of ``second``.
        second: int (M,).
        num: N, images in all.

    Returns:
        int (N,), the number 0.. of the component of each image.
    """
    links = sparse.coo_array((np.ones(len(first), np.int8), (first, second)), shape=(num, num))
    return connected_components(links, directed=False)[1]


def drop_small(labels: np.ndarray, min_size: int, sizes: np.ndarray | None = None) -> np.ndarray:
    """Turn the members of small clusters into outliers.

    Args:
        labels: int (N,), negative = outlier.
        min_size: Images of the smallest cluster that stays.
        sizes: int (N,), images that each of them stands for; None (default) for one.

    Returns:
        int (N,), -1 = outlier; the other numbers as they were.
    """
    inlier = labels >= 0
    weights = None if sizes is None else sizes[inlier]
    totals = np.bincount(labels[inlier], weights, minlength=1)
    return np.where(inlier & (totals[labels] >= min_size), labels, -1)
