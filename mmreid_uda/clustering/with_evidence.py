"""A clusterer, and what it is told of the images beside their features."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from mmengine.logging import print_log
from scipy import sparse
from torch import Tensor

from mmreid_uda.neighbors.knn import unit_rows
from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.choices import CAMERA_MODES, CameraMode
from mmreid_uda.utils.dist import run_on_rank0
from mmreid_uda.utils.values import NonNegative, checked, closest

from .camera_choice import choose_camera
from .constraints import Constraints, consistent_links, make_constraints, time_conflicts
from .labels import Clusterer, renumber_by_first
from .nodes import Nodes
from .take_apart import take_apart
from .tracklets import half_distances, identity_switches, tracklet_nodes

__all__ = ["EvidenceClustering"]

# Rejected links that the log names.
_EXAMPLES = 5
# Uses of cameras that change features, and those that change distances.
_CENTERED, _AWARE = ("center", "both"), ("jaccard", "both")


@checked
class EvidenceClustering:
    """Cluster with a clusterer, and let what is known of the images speak: cameras, tracklets, times, links.

    ``features -> centered per camera -> nodes -> clusterer (camera-aware distances, constraints) -> labels of images``.
    Without evidence, or with all switched off, the labels are those of the clusterer alone.

    Images of a tracklet become one node, with their mean feature. Links of a person and the rule of time then hold
    between nodes. A clusterer that takes no constraints gets what must be one cluster as one node, and a cluster that
    holds what cannot be one is taken apart: its nodes join anew, the nearest first, unless it is forbidden.

    :attr:`info` has the clusterer's figures; ``nodes`` where images were put together, ``tracklet_cuts``,
    ``rejected_links`` (that contradict others of higher priority).

    Args:
        clusterer: Features in, labels out.
        camera: ``'none'`` (default), ``'center'`` (subtract the mean feature of each camera), ``'jaccard'``
            (camera-aware Jaccard distance), ``'both'``, or ``'auto'``: at the first clustering, choose by a label-free
            sign and keep the choice.
        links: Obey the must-links and cannot-links of the dataset. Defaults to True.
        tracklets: Make one node of each tracklet. Defaults to False.
        time: What one camera, or cameras that do not overlap in view, see at the same time is two subjects. For crops
            of videos; not for photos of single subjects whose times are rounded. Defaults to False.
        min_overlap: Seconds that two tracklets are seen together at least, to be two subjects. Defaults to 0: an
            instant is enough.
        disjoint_cameras: Cameras of which no two see the same place at once: True for all, or lists of names or
            numbers. Defaults to False.
        cut_tracklets: Cut a tracklet where its images change by more than this at once, in the unit of
            :func:`~mmreid_uda.clustering.tracklets.identity_switches`, at the first clustering; None believes the
            tracker. Defaults to 3.5.
        strict_links: Stop at links that contradict others, instead of leaving them out. Defaults to False.

    Attributes:
        chosen: The use of cameras; None until ``'auto'`` is decided by :meth:`choose`.
        switches: Where tracklets were cut at the first clustering, see ``cut_tracklets``; None before.

    Raises:
        InputError: If an argument is not as expected, or cameras are to be used in a way that the clusterer cannot.
    """

    def __init__(
        self,
        clusterer: Clusterer,
        camera: CameraMode | Literal["auto"] = "none",
        links: bool = True,
        tracklets: bool = False,
        time: bool = False,
        min_overlap: NonNegative = 0.0,
        disjoint_cameras: bool | Sequence[Sequence[str | int]] = False,
        cut_tracklets: NonNegative | None = 3.5,
        strict_links: bool = False,
    ) -> None:
        if camera in _AWARE and not clusterer.camera_aware:
            raise InputError(
                f"found evidence.camera={camera!r} with {type(clusterer).__name__}, whose distances know no cameras: "
                "set evidence.camera='center', or clusterer.type='JaccardDBSCAN' with search='exact' or 'ivf'."
            )
        if camera in _CENTERED and "source_features" in clusterer.requires:
            raise InputError(
                f"found evidence.camera={camera!r} with {type(clusterer).__name__}, which compares with features of "
                "sources, and those are not centered: set evidence.camera='jaccard', or clusterer.source_weight=0."
            )
        self.clusterer = clusterer
        self.camera: str = camera
        self.chosen: CameraMode | None = None if camera == "auto" else camera
        self.links, self.tracklets, self.time = links, tracklets, time
        self.min_overlap, self.disjoint_cameras = min_overlap, disjoint_cameras
        self.cut_tracklets, self.strict_links = cut_tracklets, strict_links
        self.switches: np.ndarray | None = None
        self.info: dict[str, float] = {}
        # What the log has been told: once is enough.
        self._said: set[str] = set()

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
        known: Nodes | None = None,
        extras: dict[str, Any] | None = None,
    ) -> Nodes:
        """Make the nodes, and find their neighbours.

        Args:
            features: float (N, D), the same on every rank, on any device.
            evidence: Of these images; None = nothing is known.
            camera: In place of the one configured or chosen.
            over_ranks: Share the work among all ranks, which must all call this.
            known: Nodes of an earlier call on one process: where nothing else is clustered, their neighbours are taken.
            extras: Those of :meth:`__call__`; what is made of them before clustering is shared only if given here.

        Returns:
            The nodes.

        Raises:
            InputError: If the features cannot be clustered, or ``strict_links`` and links contradict each other.
        """
        images = torch.as_tensor(check_vectors(features, "features to cluster"))
        if evidence is None:
            nodes = Nodes(images)
            self.clusterer.begin(images)
            return replace(nodes, prepared=self._prepared(nodes, over_ranks, extras))
        mode = camera or self.chosen or "none"
        if self._asked_in_vain(mode, evidence):
            mode = "none"
        nodes = Nodes(images, centered=evidence.cameras if mode in _CENTERED else None)
        of_image, spread, info = self._nodes(nodes.pool(images), evidence)
        nodes = replace(nodes, of_image=of_image)
        constraints = self._constraints(nodes, evidence, spread, info)
        if constraints is not None and not self.clusterer.honors_constraints:
            # What must be one cluster is one node.
            numbers = np.append(constraints.groups, -1)
            nodes = replace(nodes, of_image=numbers[nodes.numbers(len(evidence))])
            constraints = constraints.contracted()
        self.clusterer.begin(images, nodes.of_image)
        aware = nodes.first(evidence.cameras) if mode in _AWARE else None
        nodes = replace(
            nodes, features=nodes.pool(images), cameras=aware, constraints=constraints, info=info
        )
        prepared = None
        if known is not None and known.same_input(nodes.features, aware):
            prepared = known.prepared
        if prepared is None:
            prepared = self._prepared(nodes, over_ranks, extras)
        return replace(nodes, prepared=prepared)

    def _prepared(
        self, nodes: Nodes, over_ranks: bool, extras: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """What the clusterer makes of nodes and extras beforehand."""
        known = {name: (extras or {}).get(name) for name in self.clusterer.prepared_with}
        return self.clusterer.prepare(
            nodes.features,
            over_ranks=over_ranks,
            cameras=nodes.cameras,
            **self._of_nodes(nodes, known),
        )

    def _asked_in_vain(self, mode: CameraMode, evidence: Evidence) -> bool:
        """Warn of what is asked for and known of no image; whether cameras are."""
        cameras = evidence.cameras >= 0
        vain = mode != "none" and not cameras.any()
        if vain:
            self._warn(f"evidence.camera={mode!r} does nothing, as no image has a known camera")
        if self.tracklets and not evidence.has_tracklets:
            self._warn("evidence.tracklets=True does nothing, as no image has a known tracklet")
        if self.time and not (cameras & np.isfinite(evidence.times)).any():
            self._warn("evidence.time=True does nothing, as no image has a known time and camera")
        return vain

    def _warn(self, words: str) -> None:
        """A warning in the log, unless it has been there."""
        if words not in self._said:
            print_log(f"clustering: {words}", logger="current", level=logging.WARNING)
            self._said.add(words)

    def _nodes(
        self, features: Tensor, evidence: Evidence
    ) -> tuple[np.ndarray | None, float | None, dict[str, float]]:
        """Node of each image, None = each is one; how much a node varies, None = unknown; and figures."""
        tracklets = self.tracklets and evidence.has_tracklets
        if not tracklets and not evidence.ignored.any():
            return None, None, {}
        info: dict[str, float] = {}
        spread = None
        of_image = np.arange(len(evidence))
        if tracklets:
            rows = unit_rows(features).cpu().numpy()
            # Once, on the first features: a network that has learned from a cut makes more of it, and of others.
            if self.cut_tracklets is not None and self.switches is None:
                self.switches = identity_switches(rows, evidence, self.cut_tracklets)
            of_image, cuts = tracklet_nodes(rows, evidence, self.switches, self.links)
            info["tracklet_cuts"] = float(cuts)
            halves = half_distances(rows, np.where(evidence.ignored, -1, of_image), evidence.times)
            spread = float(np.median(halves)) if len(halves) else None
        kept = ~evidence.ignored
        of_image = np.where(kept, of_image, -1)
        if not kept.any():
            raise InputError(
                f"found {len(kept)} images, all of them with a link 'ignore', expected some that show a subject: "
                "correct the file of links."
            )
        of_image[kept] = renumber_by_first(of_image[kept])
        info["nodes"] = float(of_image.max() + 1)
        return of_image, spread, info

    def _constraints(
        self, nodes: Nodes, evidence: Evidence, spread: float | None, info: dict[str, float]
    ) -> Constraints | None:
        """Constraints between the nodes, None where there are none and each image is a node."""
        of_image = nodes.numbers(len(evidence))
        sizes = np.bincount(of_image[of_image >= 0])
        links = self._kept_links(of_image, evidence, info) if self.links else Links()
        exclusive = None
        if self.time and evidence.has_times:
            exclusive = self._seen_together(
                nodes.first(evidence.cameras), of_image, len(sizes), evidence
            )
        if nodes.of_image is None and not len(links) and exclusive is None:
            return None
        return make_constraints(sizes, links, exclusive, spread)

    def _kept_links(
        self, of_image: np.ndarray, evidence: Evidence, info: dict[str, float]
    ) -> Links:
        """The links between nodes that can be kept together; the others are counted and named in the log."""
        links = evidence.links
        first, second = of_image[links.first], of_image[links.second]
        known = (first >= 0) & (second >= 0)
        # Links within a tracklet that was not cut say nothing, or contradict it.
        between = np.flatnonzero(known & (first != second))
        nodes = replace(links.chosen(between), first=first[between], second=second[between])
        kept = consistent_links(nodes)
        rejected = np.concatenate(
            [between[~kept], np.flatnonzero(known & (first == second) & ~links.must)]
        )
        if not len(rejected):
            return nodes
        info["rejected_links"] = float(len(rejected))
        must = int(links.must[rejected].sum())
        examples = ", ".join(
            f"{'must' if links.must[link] else 'cannot'} of images {links.first[link]} and {links.second[link]}"
            for link in np.sort(rejected)[:_EXAMPLES]
        )
        cannot = len(rejected) - must
        words = (
            f"{len(rejected)} of {len(links)} links that contradict others of at least their priority ({must} "
            f"must-links of what cannot-links separate, {cannot} cannot-links within what must-links or a tracklet "
            f"join): {examples}"
        )
        if self.strict_links:
            raise InputError(
                f"found {words}; expected none, as evidence.strict_links says: correct the file of links."
            )
        self._warn(f"left out {words}")
        return nodes.chosen(kept)

    def _seen_together(
        self, cameras: np.ndarray, of_image: np.ndarray, num: int, evidence: Evidence
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sets of nodes that were seen at the same time, see :func:`time_conflicts`."""
        timed = (of_image >= 0) & np.isfinite(evidence.times)
        starts, ends = np.full(num, np.inf), np.full(num, -np.inf)
        np.minimum.at(starts, of_image[timed], evidence.times[timed])
        np.maximum.at(ends, of_image[timed], evidence.times[timed])
        # Spans overlap for as long as this where they still touch without half of it on either side.
        span = ends > starts
        starts, ends = starts + span * self.min_overlap / 2, ends - span * self.min_overlap / 2
        starts[starts > ends] = np.nan
        return time_conflicts(starts, ends, cameras, self._disjoint(cameras, evidence.camera_names))

    def _disjoint(
        self, cameras: np.ndarray, names: Sequence[str] | None
    ) -> Sequence[Sequence[int]]:
        """The numbers of cameras that do not overlap in view."""
        if isinstance(self.disjoint_cameras, bool):
            return [np.unique(cameras[cameras >= 0]).tolist()] if self.disjoint_cameras else []
        known: dict[str | int, int] = {name: number for number, name in enumerate(names or ())}
        known.update((number, number) for number in np.unique(cameras).tolist())
        for name in (name for together in self.disjoint_cameras for name in together):
            if name not in known:
                raise InputError(
                    f"found evidence.disjoint_cameras with {name!r}, which is no camera of the dataset, but "
                    f"{closest(name, map(str, known))}: correct it."
                )
        return [[known[name] for name in together] for together in self.disjoint_cameras]

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
        features = nodes.features.cpu().numpy()
        labels = self.clusterer(
            features,
            seed=seed,
            epoch=epoch,
            eps_scale=eps_scale,
            prepared=nodes.prepared,
            cameras=nodes.cameras,
            constraints=nodes.constraints,
            **self._of_nodes(nodes, extras),
        )
        self.info = {**nodes.info, **self.clusterer.info}
        if nodes.constraints is not None and not self.clusterer.honors_constraints:
            labels, apart = take_apart(labels, features, nodes.constraints)
            if apart:
                self.info["clusters_taken_apart"] = float(apart)
        return nodes.hand_back(labels)

    def distances(
        self,
        nodes: Nodes,
        max_distance: float,
        *,
        seed: int,
        epoch: int,
        **extras: np.ndarray | None,
    ) -> sparse.csr_array:
        """The distances that :meth:`__call__` clusters by, between images; constraints have no part in them.

        Args:
            nodes: Of :meth:`prepare`.
            max_distance: The limit, in (0, 1].
            seed: As for :class:`Clusterer`.
            epoch: As for :class:`Clusterer`.
            **extras: As for :class:`Clusterer`.

        Returns:
            float32 (N, N), as :meth:`Clusterer.graph`. Images of a node are as near as it is to itself; the rows of
            images that take no part are empty.

        Raises:
            InputError: If the clusterer has no such distances.
        """
        graph = self.clusterer.distances(
            nodes.features.cpu().numpy(),
            max_distance,
            seed=seed,
            epoch=epoch,
            prepared=nodes.prepared,
            cameras=nodes.cameras,
            **self._of_nodes(nodes, extras),
        )
        return nodes.between_images(graph)

    def _of_nodes(
        self, nodes: Nodes, extras: dict[str, np.ndarray | None]
    ) -> dict[str, np.ndarray | None]:
        """The extras, of nodes where they were of images."""
        mapped = dict(extras)
        for name in self.clusterer.per_image:
            values = extras.get(name) if name in self.requires else None
            if values is not None:
                labeled = values.ndim == 1
                mapped[name] = (
                    nodes.first(values) if labeled else nodes.pool(torch.from_numpy(values)).numpy()
                )
        return mapped

    def choose(
        self,
        features: np.ndarray | Tensor,
        evidence: Evidence,
        *,
        over_ranks: bool = False,
        **options: Any,
    ) -> tuple[CameraMode, dict[str, float]]:
        """What ``camera='auto'`` stands for: cluster with every use of cameras and compare, see :func:`choose_camera`.

        Args:
            features: As in :meth:`prepare`.
            evidence: As in :meth:`prepare`.
            over_ranks: As in :meth:`prepare`; rank 0 clusters, and every rank gets the result.
            **options: As in :meth:`__call__`: seed, epoch, extras.

        Returns:
            The use of cameras, to be set as :attr:`chosen`; and figures for the log.
        """
        if not evidence.has_cameras:
            return "none", {}

        def label(mode: CameraMode) -> np.ndarray:
            # What the clusterer chooses with one use of cameras must not be kept for the next.
            trial = copy.deepcopy(self)
            trial._said = self._said
            nodes = trial.prepare(
                features, evidence, camera=mode, over_ranks=over_ranks, extras=options
            )
            work = partial(trial, nodes, **options)
            return run_on_rank0(work) if over_ranks else work()

        no_centers = _CENTERED if "source_features" in self.requires else ()
        unaware = () if self.clusterer.camera_aware else _AWARE
        modes = [mode for mode in CAMERA_MODES if mode not in (*no_centers, *unaware)]
        return choose_camera(label, evidence.cameras, modes)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs.

        Returns:
            The clusterer's state, the use of cameras that was chosen, and where tracklets were cut.
        """
        return dict(
            clusterer=self.clusterer.state_dict(),
            camera=self.chosen,
            switches=None if self.switches is None else torch.from_numpy(self.switches),
        )

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
        if self.cut_tracklets is not None and (switches := state["switches"]) is not None:
            self.switches = switches.cpu().numpy()
