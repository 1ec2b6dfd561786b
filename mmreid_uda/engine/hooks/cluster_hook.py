"""Pseudo-labels, made before every epoch: extract, cluster, refine, check, hand out."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from scipy import sparse
from torch import Tensor

from mmreid_uda.clustering import EvidenceClustering, Nodes, cluster_statistics
from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.registry import CLUSTERERS, REFINERS
from mmreid_uda.registry import HOOKS as _HOOKS
from mmreid_uda.structures import Extract, PseudoLabelState, TrainingImages
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import EvidenceOptions
from mmreid_uda.utils.dist import broadcast_buffers, on_every_rank, run_on_rank0
from mmreid_uda.utils.feature_file import FeaturesIn, feature_files, place_of_features
from mmreid_uda.utils.values import Count, Fraction, Natural

from ..extraction import extract_features, unwrap, with_pipeline
from ..label_report import LABEL_METRICS, health_of, report_labels, save_labels
from ..links import LinksFile
from ..optim import fit_moments

__all__ = ["ClusterHook"]

# Each step of the policy 'relax_eps' widens (or narrows) the radius by this factor.
_RELAX_FACTOR = 1.15
_RELAX_STEPS = 6
# Steps that are timed on rank 0.
_TIMED = ("cluster", "refine", "health")
# What the model is asked for to see how firmly labels stand.
_MIRRORED = "mirrored_features"
# Number of the target among the domains of a batch sampler.
_TARGET = 1


@_HOOKS.register_module()
class ClusterHook(Hook):
    """Give the target's training images new pseudo-labels before an epoch.

    All ranks extract the features that the model chooses (``cluster_features``); rank 0 clusters and refines them; each
    rank gets the same labels, writes them into the dataset's shared memory, and tells the model (``on_relabel``). A
    result that cannot be trained on is met by a stated policy, and the log says why.

    The target's file of links is read again before each clustering: what a person has said meanwhile holds from then
    on, on all ranks as rank 0 has read it. A file that cannot be read is warned of, and the links before it hold. A run
    repeats itself, resumed or not, as long as the file stays the same; the log has its hash wherever it has changed.

    Args:
        clusterer: Config of the clusterer (features -> labels).
        pipeline: Test-time transforms for the extraction, normally the configuration's ``test_pipeline``.
        refiners: Configs of refiners (labels, features -> labels), applied in order.
        evidence: What the clusterer is told beside features: arguments of
            :class:`~mmreid_uda.clustering.EvidenceClustering`, such as ``dict(camera='auto')``. Defaults to None:
            features alone.
        interval: Cluster every so many epochs; between, the labels stay. Defaults to 1.
        min_clusters: Fewest clusters to train on. Defaults to the identities in a global batch (P of P×K).
        max_outlier_ratio: Largest share of images without a cluster, 0..1. Defaults to 0.95; the papers' recipes set 1,
            as the released code trains on whatever was found.
        policy: What to do with a result outside these limits: ``'relax_eps'`` (default) clusters again with a radius
            that is up to 6 times 15 % wider (or narrower, when nearly everything has merged), then falls back on the
            previous labels, if there are any; ``'keep_previous'`` falls back at once; ``'raise'`` stops.
        batch_size: Images per forward pass and rank during extraction. Defaults to 128.
        num_workers: Loading processes per rank during extraction. Defaults to ``'auto'``: as the machine has cores.
        amp_dtype: ``'bfloat16'`` or ``'float16'`` computes the features in mixed precision, which is faster on GPUs;
            pseudo-labels may then differ a little. Defaults to None: float32, also where training is mixed.
        features: Where features are during the step: in ``'memory'``, a copy for every rank; or on ``'disk'``, in one
            file in ``work_dir/features`` that all ranks map, which is removed afterwards. Ranks on several machines
            need a work dir that they share. ``'auto'`` (default) takes the disk where all copies of a machine would
            take more than a quarter of its memory; on a GPU, a quarter of the GPU's. Labels are the same.
        seed: Seed of the clusterer; defaults to the run's.
        stability: Cluster the mirrored images as well, and log how far both labels agree (``ari_mirrored``): a second
            extraction and clustering. Defaults to False.
        save_labels: Write ``work_dir/pseudo_labels/epoch_<n>.npz`` (paths, labels, statistics).
        needs_distances: Set by methods that ask for the distances of their labels: a clusterer that has none, such as
            k-means, is refused at once. Defaults to False.

    Raises:
        InputError: If a usable result cannot be had: one sentence with the numbers found.

    Example:
        >>> default_hooks = dict(cluster=dict(
        ...     type='ClusterHook', pipeline=test_pipeline,
        ...     clusterer=dict(type='JaccardDBSCAN', eps=0.6, min_samples=4, k1=30, k2=6)))
    """

    # Before the batch sampler reads the labels and before the ranks compare them.
    priority = "HIGH"

    def __init__(
        self,
        clusterer: dict[str, Any],
        pipeline: Sequence[Any],
        refiners: Sequence[dict[str, Any]] = (),
        evidence: EvidenceOptions | None = None,
        interval: Count = 1,
        min_clusters: Count | None = None,
        max_outlier_ratio: Fraction = 0.95,
        policy: Literal["relax_eps", "keep_previous", "raise"] = "relax_eps",
        batch_size: Count = 128,
        num_workers: Natural | Literal["auto"] = "auto",
        amp_dtype: Literal["bfloat16", "float16"] | None = None,
        features: FeaturesIn = "auto",
        seed: int | None = None,
        stability: bool = False,
        save_labels: bool = True,
        needs_distances: bool = False,
    ) -> None:
        self.clustering = EvidenceClustering(CLUSTERERS.build(clusterer), **evidence or {})
        if needs_distances:
            self.clustering.clusterer.require_distances()
        self.refiners = [REFINERS.build(refiner) for refiner in refiners]
        self.pipeline = list(pipeline)
        self.interval = interval
        self.min_clusters = min_clusters
        self.max_outlier_ratio = max_outlier_ratio
        self.policy = policy
        self.batch_size, self.num_workers = batch_size, num_workers
        self.amp_dtype = getattr(torch, amp_dtype) if amp_dtype else None
        self.features = features
        self.seed = seed
        self.stability = stability
        self.save_labels = save_labels
        self.history: dict[int, dict[str, float]] = {}
        self._links = LinksFile()

    # ---- life cycle

    def before_train(self, runner: Runner) -> None:
        """Check that there is a target, and enough images of it to fill a batch; and recall earlier epochs.

        Raises:
            InputError: If there are too few images, or the clusterer cannot read what it needs.
        """
        # A hub of the same name may be that of another run in this process.
        known = runner.message_hub.runtime_info.get(LABEL_METRICS) or {}
        self.history = {epoch: known[epoch] for epoch in known if epoch < runner.epoch}
        runner.message_hub.update_info(LABEL_METRICS, self.history)
        fit_moments(runner.optim_wrapper.optimizer, unwrap(runner.model))
        needed = self._needed(runner)
        target = _target(runner)
        if len(target) < needed * 2:
            raise InputError(
                f"found {len(target)} training images, expected at least {needed * 2} to form {needed} clusters of "
                "two; add images or lower global_batch_size."
            )
        on_every_rank(lambda: self.clustering.clusterer.require_images(len(target)))

    def before_train_epoch(self, runner: Runner) -> None:
        """Cluster, unless the labels of an earlier epoch still hold (``interval``, also after a resume)."""
        target = _target(runner)
        if runner.epoch % self.interval and bool((target.labels >= 0).any()):
            return
        self._links.refresh(target, runner)
        with feature_files(runner.work_dir):
            self._relabel(runner, target)

    def _relabel(self, runner: Runner, target: ReIDDataset) -> None:
        """Make new labels and hand them out."""
        started = time.monotonic()
        images, answers = self.collect(runner, also=[_MIRRORED] if self.stability else [])
        features = images.features
        assert features is not None
        extracted = time.monotonic()
        self._choose(runner, features, target, answers)
        nodes = self.clustering.prepare(features, target.evidence, over_ranks=True, extras=answers)
        seconds = dict(extract=extracted - started)
        if nodes.prepared != {}:
            seconds["knn"] = time.monotonic() - extracted
        before = target.labels.numpy().copy()
        labels, scale, statistics = run_on_rank0(
            lambda: self._cluster(runner, features.cpu().numpy(), nodes, before, answers)
        )
        labeled = time.monotonic()
        mirrored = self._label_mirrored(runner, features, target, scale, statistics, answers)
        health = run_on_rank0(lambda: health_of(labels, before, mirrored, target))
        statistics.update(health, seconds_health=time.monotonic() - labeled)
        seconds.update({name: statistics.pop(f"seconds_{name}") for name in _TIMED})
        seconds["broadcast"] = time.monotonic() - started - sum(seconds.values())
        state = PseudoLabelState(
            runner.epoch,
            torch.from_numpy(labels),
            features,
            self._seed(runner),
            statistics,
            cluster=lambda features: self.label(runner, features, answers),
            distances=lambda limit: self.distances(runner, nodes, limit, answers),
            evidence=target.evidence,
        )
        target.set_labels(state.labels)
        unwrap(runner.model).on_relabel(state)
        fit_moments(runner.optim_wrapper.optimizer, unwrap(runner.model))
        # Sums over classes are rounded in any order on a GPU.
        broadcast_buffers(unwrap(runner.model))
        report_labels(runner, state, seconds, self.history)
        if self.save_labels and is_main_process():
            save_labels(runner, state, target)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Put labels and the clusterer's state beside the weights."""
        checkpoint["pseudo_labels"] = dict(
            labels=_target(runner).labels.clone(),
            fingerprint=_target(runner).fingerprint,
            clusterer=self.clustering.state_dict(),
            links=self._links.digest,
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """On resume, take labels and the clusterer's state back.

        Raises:
            InputError: If the checkpoint is of another list of images.
        """
        saved = checkpoint.get("pseudo_labels")
        if not runner._resume or saved is None:
            return
        target = _target(runner)
        if saved["fingerprint"] != target.fingerprint:
            raise InputError(
                f"the checkpoint was trained on another list of images than the {len(target)} found in "
                f"{target.data_root!r}: resume with the same data, or start anew with load_from instead of --resume."
            )
        target.set_labels(saved["labels"].cpu())
        self.clustering.load_state_dict(saved["clusterer"])
        self._links.digest = saved.get("links")

    # ---- steps

    @torch.no_grad()
    def collect(
        self, runner: Runner, also: Sequence[str] = ()
    ) -> tuple[TrainingImages, dict[str, np.ndarray | None]]:
        """Ask the model which features are clustered, and answer what the clusterer requires besides.

        Args:
            runner: The Runner; all ranks call this together.
            also: Names that are to be answered beside those of the clusterer.

        Returns:
            The images with their features, which may be files and then last as long as
            :func:`~mmreid_uda.utils.feature_file.feature_files`; and name -> array of each answer, None where the data
            have none.

        Raises:
            InputError: A feature is NaN or infinite, or nobody answers a name.
        """
        dataset, model = runner.train_dataloader.dataset, unwrap(runner.model)
        device = next(model.parameters()).device
        labels = dataset.labels[torch.from_numpy(dataset.domains == 0)]
        images = TrainingImages(_target(runner), dataset.source_datasets, labels, runner.epoch)

        def extract(network: Callable[[Tensor], Tensor], dataset: ReIDDataset) -> Tensor:
            seen = with_pipeline(dataset, self.pipeline)
            return extract_features(
                model,
                seen,
                self.batch_size,
                self.num_workers,
                self.amp_dtype,
                network=network,
                place=place_of_features(runner.work_dir, self.features, device),
            )

        images.features = model.cluster_features(extract, images)
        names = {*self.clustering.requires, *also}
        return images, {name: answer(name, model, extract, images) for name in sorted(names)}

    def label(
        self, runner: Runner, features: Tensor, answers: dict[str, np.ndarray | None]
    ) -> Tensor:
        """Cluster features once more, without refiners and limits; the clusterer's own state stays.

        Args:
            runner: The Runner; all ranks call this together.
            features: float32 (N, D), the same on every rank.
            answers: What the clusterer requires besides.

        Returns:
            int64 (N,), -1 = outlier, the same on every rank.
        """
        clustering, seed = copy.deepcopy(self.clustering), self._seed(runner)
        evidence = _target(runner).evidence

        nodes = clustering.prepare(features, evidence, over_ranks=True, extras=answers)
        options = dict(seed=seed, epoch=runner.epoch, eps_scale=1.0, **answers)
        return torch.from_numpy(run_on_rank0(lambda: clustering(nodes, **options)))

    def distances(
        self,
        runner: Runner,
        nodes: Nodes,
        max_distance: float,
        answers: dict[str, np.ndarray | None],
    ) -> sparse.csr_array:
        """The distances that the labels of an epoch come from.

        Args:
            runner: The Runner; all ranks call this together.
            nodes: What was clustered; on rank 0 with its neighbours.
            max_distance: The limit, in (0, 1].
            answers: What the clusterer requires besides.

        Returns:
            float32 (N, N), the same on every rank, see :meth:`EvidenceClustering.distances`.

        Raises:
            InputError: The clusterer has none.
        """
        options: dict[str, Any] = dict(seed=self._seed(runner), epoch=runner.epoch, **answers)
        return run_on_rank0(lambda: self.clustering.distances(nodes, max_distance, **options))

    def _choose(
        self,
        runner: Runner,
        features: Tensor,
        target: ReIDDataset,
        answers: dict[str, np.ndarray | None],
    ) -> None:
        """Decide what ``evidence.camera='auto'`` stands for, once."""
        if self.clustering.chosen is not None:
            return
        options: dict[str, Any] = dict(seed=self._seed(runner), epoch=runner.epoch, **answers)
        self.clustering.chosen, metrics = self.clustering.choose(
            features, target.evidence, over_ranks=True, **options
        )
        words = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        runner.logger.info(
            f"evidence.camera='auto': {self.clustering.chosen!r} ({words or 'no camera is known'})"
        )

    def _seed(self, runner: Runner) -> int:
        return runner.seed if self.seed is None else self.seed

    def _needed(self, runner: Runner) -> int:
        if self.min_clusters is not None:
            return self.min_clusters
        sampler = runner.train_dataloader.batch_sampler
        instances = sampler.num_instances[_TARGET]
        return sampler.global_batch_size // instances if instances else 2

    def _label_mirrored(
        self,
        runner: Runner,
        features: Tensor,
        target: ReIDDataset,
        scale: float,
        statistics: dict[str, float],
        answers: dict[str, np.ndarray | None],
    ) -> np.ndarray | None:
        """Labels int64 (N,) of the mirrored images, where they are asked for; all ranks call this together."""
        rows = answers.get(_MIRRORED)
        if not self.stability or rows is None or "kept_previous" in statistics:
            return None
        clustering = copy.deepcopy(self.clustering)
        # The image is the mirrored one of its mirrored image.
        turned = {**answers, _MIRRORED: features.cpu().numpy()}
        options = dict(seed=self._seed(runner), epoch=runner.epoch, eps_scale=scale, **turned)
        nodes = clustering.prepare(rows, target.evidence, over_ranks=True, extras=turned)

        def work() -> np.ndarray:
            labels = clustering(nodes, **options)
            for refiner in self.refiners:
                labels = refiner(labels, rows)
            return labels

        return run_on_rank0(work)

    def _cluster(
        self,
        runner: Runner,
        features: np.ndarray,
        nodes: Nodes,
        previous: np.ndarray,
        answers: dict[str, np.ndarray | None],
    ) -> tuple[np.ndarray, float, dict[str, float]]:
        """Labels int64 (N,) that satisfy the limits, the factor on the radius that led to them, and figures.

        The time of attempts that were given up counts as ``cluster``.
        """
        started = time.monotonic()
        scale, reason = 1.0, ""
        # What shows no subject is not left out.
        subjects = ~_target(runner).evidence.ignored
        for attempt in range(1 + (_RELAX_STEPS if self.policy == "relax_eps" else 0)):
            labels = self.clustering(
                nodes, seed=self._seed(runner), epoch=runner.epoch, eps_scale=scale, **answers
            )
            clustered = time.monotonic()
            for refiner in self.refiners:
                labels = refiner(labels, features)
            statistics = cluster_statistics(labels[subjects])
            reason = self._reason(runner, statistics)
            if not reason:
                statistics.update(
                    self.clustering.info,
                    seconds_cluster=clustered - started,
                    seconds_refine=time.monotonic() - clustered,
                )
                return labels, scale, statistics
            # Too many outliers: widen the radius. Few outliers, yet few clusters: all has merged, narrow it.
            wider = statistics["outlier_ratio"] > 0.5
            scale = (_RELAX_FACTOR if wider else 1 / _RELAX_FACTOR) ** (attempt + 1)
            runner.logger.warning(
                f"Clustering before epoch {runner.epoch + 1}: {reason} (policy {self.policy!r})"
            )
        if self.policy != "raise" and (previous >= 0).any():
            runner.logger.warning("Keeping the labels of the previous epoch.")
            metrics = dict(seconds_cluster=0.0, seconds_refine=0.0, kept_previous=1.0)
            return previous, scale, {**cluster_statistics(previous[subjects]), **metrics}
        raise InputError(
            f"clustering before epoch {runner.epoch + 1}: {reason}; change clusterer (eps, "
            "min_samples, k1), use better initial weights, or lower global_batch_size."
        )

    def _reason(self, runner: Runner, statistics: dict[str, float]) -> str:
        """Why this result cannot be trained on: half a sentence with the numbers, or nothing."""
        found, needed = int(statistics["clusters"]), self._needed(runner)
        if statistics["outlier_ratio"] > self.max_outlier_ratio:
            return (
                f"found {statistics['outlier_ratio']:.1%} of {int(statistics['images'])} images without a cluster, "
                f"expected at most {self.max_outlier_ratio:.1%}"
            )
        if found < needed:
            return (
                f"found {found} clusters among {int(statistics['images'])} images "
                f"({statistics['outlier_ratio']:.1%} of the images without a cluster), expected at least {needed}"
            )
        return ""


def answer(name: str, model: Any, extract: Extract, images: TrainingImages) -> np.ndarray | None:
    """What a clusterer requires beside features, answered by name: by the target, or by the model.

    Args:
        name: That of an attribute of the dataset, an array (N, ...); or of a method of the model with the arguments of
            ``cluster_features``, which gives a tensor.
        model: The algorithm.
        extract: For methods of the model.
        images: With the features that are clustered.

    Returns:
        The array; None where there is none for these data.

    Raises:
        InputError: Neither has the name.
    """
    if hasattr(images.target, name):
        found = getattr(images.target, name)
    elif callable(getattr(model, name, None)):
        found = getattr(model, name)(extract, images)
    else:
        raise InputError(
            f"found a clusterer that requires {name!r}, which neither the dataset {type(images.target).__name__} nor "
            f"the model {type(model).__name__} knows, expected an attribute of the one or a method of the other: "
            "choose another default_hooks.cluster.clusterer, or another model.type."
        )
    return found.cpu().numpy() if isinstance(found, Tensor) else found


def _target(runner: Runner) -> ReIDDataset:
    """The dataset that gets pseudo-labels."""
    target = runner.train_dataloader.dataset.target
    if target is None:
        raise InputError(
            "ClusterHook needs unlabelled training images: set `target` in the config."
        )
    return target
