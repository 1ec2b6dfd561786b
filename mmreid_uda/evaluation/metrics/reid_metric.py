"""The metric of the validation and test loops: every test set's mAP, CMC and mINP, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dist import get_comm_device, get_rank, is_distributed
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional

from mmreid_uda.evaluation.functional.distance import distance_blocks
from mmreid_uda.evaluation.functional.protocol import CMC, AveragePrecision
from mmreid_uda.evaluation.functional.query_expansion import Alpha, expand_queries
from mmreid_uda.evaluation.functional.rank import RankResult, evaluate_rank
from mmreid_uda.evaluation.functional.rerank import rerank
from mmreid_uda.evaluation.functional.time_prior import TimePrior, TimePriorOptions
from mmreid_uda.neighbors.centering import center_cameras
from mmreid_uda.neighbors.knn import Precision
from mmreid_uda.registry import METRICS
from mmreid_uda.utils import InputError, parse_size
from mmreid_uda.utils.dist import (
    cpu_group,
    noticing_lost_ranks,
    on_every_rank,
    run_on_rank0,
)
from mmreid_uda.utils.feature_file import FeatureFile
from mmreid_uda.utils.files import require_suffix, require_writable, write_arrays
from mmreid_uda.utils.values import Count, Fraction

__all__ = ["ReIDMetric"]

_LABELS = ("pid", "camid", "is_query", "is_gallery", "set_id", "sample_idx")


class RerankOptions(TypedDict, total=False):
    """What a config may set of :func:`~mmreid_uda.evaluation.functional.rerank`."""

    k1: Count
    k2: Count
    lambda_value: Fraction
    precision: Precision
    cameras: bool


class ExpansionOptions(TypedDict, total=False):
    """What a config may set of :func:`~mmreid_uda.evaluation.functional.expand_queries`."""

    k: Count
    alpha: Alpha
    database_side: bool


@METRICS.register_module()
class ReIDMetric(BaseMetric):
    """Rank the gallery of every test set for its queries: ``market1501/mAP``, ``market1501/R1``, ...

    Every rank gets the features of all, in the order of ``sample_idx``, so that the figures neither depend on the
    number of ranks nor on the images that a sampler repeats to fill up the last batch. Ranks share the queries: on CPUs
    the figures are those of one process to the last bit.

    Gallery images of the query's identity *and* camera are left out. A test set without cameras, or with
    ``same_camera='keep'``, is handled by ``ReIDTestDataset``: it numbers the cameras per image file, and the rule then
    leaves out the query's own image alone.

    Reported for each set: ``mAP``, ``R1``, ``R5``, ``R10``, ``mINP``, in percent (0..100); with ``rerank`` also
    ``rerank_mAP`` and so on, with ``query_expansion`` also ``qe_mAP`` and so on, with ``center_cameras`` also
    ``centered_mAP`` and so on, with ``time_prior`` also ``time_mAP`` and so on; with ``verification`` all of them are
    followed by ``TPR@FPR=0.1`` (0.01, 0.001, 0.0001),
    ``AUC`` and ``EER``.

    Source: Zheng et al., "Scalable person re-identification: a benchmark", ICCV 2015; mINP: Ye et al., TPAMI 2022.

    Args:
        rerank: True evaluates a second time after k-reciprocal re-ranking; a dict sets ``k1``, ``k2``,
            ``lambda_value`` and ``precision`` of :func:`~mmreid_uda.evaluation.functional.rerank`, and with
            ``cameras=True`` neighbourhoods within and across cameras are used (CA-Jaccard).
        query_expansion: True evaluates once more after query expansion; a dict sets ``k``, ``alpha`` and
            ``database_side`` of :func:`~mmreid_uda.evaluation.functional.expand_queries`. Re-ranking does not see it.
        center_cameras: True evaluates once more after subtracting the mean feature of each camera, over queries and
            gallery, see :func:`~mmreid_uda.neighbors.center_cameras`; that of all images from the only one of a
            camera. It looks at all images of the set at once, and so
            is no part of a benchmark's protocol.
        time_prior: Evaluates once more with the times between cameras, as far as a run's pseudo-labels tell them:
            ``dict(labels='work_dirs/...')`` and the options of :class:`~mmreid_uda.evaluation.TimePrior`. The data set
            must read times. Benchmarks rank by looks alone, and this is no part of their protocol.
        verification: Also report how well a threshold tells pairs of one person from pairs of two.
        max_rank: Length of the CMC curve.
        protocol: ``'market'`` or ``'cuhk03'``, see :func:`~mmreid_uda.evaluation.functional.evaluate_rank`.
        ap: ``'precision'`` or ``'trapezoid'``, see :func:`~mmreid_uda.evaluation.functional.evaluate_rank`.
        max_memory: What an evaluation may hold beside the features on each rank, such as ``'4GiB'``; None sets no
            limit.
        device: Where distances are computed: ``'auto'`` (a GPU if there is one), ``'cpu'``, ``'cuda'``.
        dump_features: Path of an ``.npz`` file to which rank 0 writes ``features``, ``pid``, ``camid``,
            ``is_query``, ``is_gallery``, ``set_id``, ``sample_idx`` and ``set_names`` at each evaluation; None writes
            nothing.
        feature_file: Path of a ``.npy`` file, the same on all machines, with the features of all images while these
            are evaluated, which all ranks map. None (default) gives every rank all features in memory.
        collect_device: ``'cpu'`` gathers through gloo, ``'gpu'`` through the training group.
        prefix: Put in front of the keys; only needed when two such metrics run side by side.

    Raises:
        InputError: An option is unknown.

    Example:
        >>> val_evaluator = dict(type='ReIDMetric')
        >>> test_evaluator = dict(type='ReIDMetric', rerank=dict(k1=20, k2=6), dump_features='work_dirs/features.npz')
    """

    default_prefix = ""

    def __init__(
        self,
        rerank: bool | RerankOptions = False,
        query_expansion: bool | ExpansionOptions = False,
        center_cameras: bool = False,
        time_prior: TimePriorOptions | None = None,
        verification: bool = False,
        max_rank: Count = 50,
        protocol: CMC = "market",
        ap: AveragePrecision = "precision",
        max_memory: str | int | None = None,
        device: str = "auto",
        dump_features: str | None = None,
        feature_file: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if max_memory is not None:
            parse_size(max_memory, "ReIDMetric.max_memory")
        self.options: dict[str, Any] = dict(
            max_rank=max_rank,
            protocol=protocol,
            ap=ap,
            verification=verification,
            max_memory=max_memory,
        )
        self.rerank = _step_options(rerank)
        self.query_expansion = _step_options(query_expansion)
        self.center_cameras = center_cameras
        if time_prior is not None and "labels" not in time_prior:
            raise InputError(
                f"found time_prior={time_prior} without labels, expected those that it learns from: set "
                "time_prior.labels to the folder of a run with a ClusterHook."
            )
        # Read at once: what it lacks is told before anything is computed.
        self.time_prior = None if time_prior is None else TimePrior.of_run(**time_prior)
        if dump_features is not None:
            require_suffix(dump_features, ".npz")
            require_writable(dump_features)
        if feature_file is not None:
            require_suffix(feature_file, ".npy")
            require_writable(feature_file)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.dump_features, self.feature_file = dump_features, feature_file

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the features and labels of some batches, on the CPU.

        Args:
            data_batch: Not used.
            data_samples: Batches as ``ReIDDataSample.to_dict()`` gives them: ``features`` (B, D), and ``pid``,
                ``camid``, ``is_query``, ``set_id``, ``sample_idx``, each (B,); ``is_gallery`` where an image may be
                both, else what is no query is of the gallery.

        Raises:
            InputError: A field is missing.
        """
        for batch in data_samples:
            if "is_query" in batch:
                batch = {"is_gallery": ~batch["is_query"].bool(), **batch}
            missing = [name for name in ("features", *_LABELS) if name not in batch]
            if missing:
                raise InputError(
                    f"ReIDMetric got samples without {', '.join(missing)}: set the loader's dataset to "
                    f"type='ReIDTestDataset', and let the model answer mode='predict' with features."
                )
            labels = torch.stack([batch[name].long().cpu() for name in _LABELS], dim=1)
            self.results.append((batch["features"].detach().float().cpu(), labels))

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the features of all ranks and evaluate them.

        Args:
            size: Number of images in the test sets, used if ``dataset_meta`` has no ``num_samples``.

        Returns:
            The figures in percent, the same on every rank.

        Raises:
            InputError: Images are missing, or a test set has no query with a match; raised on every rank.
        """
        features, labels = self._collect((self.dataset_meta or {}).get("num_samples", size))
        try:
            metrics = self._figures(features, labels, over_ranks=True)
            on_every_rank(lambda: None)  # on some file systems a map is lost with its file
        finally:
            if self.feature_file is not None and get_rank() == 0:
                Path(self.feature_file).unlink(missing_ok=True)
        return {
            f"{self.prefix}/{key}" if self.prefix else key: value for key, value in metrics.items()
        }

    def compute_metrics(
        self, results: list[tuple[Tensor, Tensor]], size: int | None = None
    ) -> dict[str, float]:
        """Evaluate features that are all in this process.

        Args:
            results: Pairs of features, float32 (B, D), and labels, int64 (B, 6): ``pid``, ``camid``, ``is_query``,
                ``is_gallery``, ``set_id``, ``sample_idx``.
            size: Number of images expected, used if ``dataset_meta`` has no ``num_samples``.

        Returns:
            The figures in percent.

        Raises:
            InputError: Images are missing, or a test set has no query with a match.
        """
        parts, labels = _split(results)
        order = _first_of_each(labels, (self.dataset_meta or {}).get("num_samples", size))
        return self._figures(torch.cat(parts)[order], labels[order], over_ranks=False)

    def _figures(self, features: Tensor, labels: Tensor, over_ranks: bool) -> dict[str, float]:
        """Figures of all test sets, from their images in order, each once."""
        meta = self.dataset_meta or {}
        if "set_names" not in meta:
            raise InputError(
                "ReIDMetric does not know the names of the test sets: set the loader's dataset to "
                "type='ReIDTestDataset', whose metainfo has them."
            )
        if self.dump_features is not None:
            path = Path(self.dump_features)
            run_on_rank0(lambda: _dump(path, features, labels, meta["set_names"]))
        metrics: dict[str, float] = {}
        for set_id, name in enumerate(meta["set_names"]):
            inside = labels[:, _LABELS.index("set_id")] == set_id
            try:
                of_set = self._evaluate_set(name, features, labels, inside, over_ranks)
            except InputError as error:
                raise InputError(f"test set {name!r}: {error}") from None
            metrics.update({f"{name}/{key}": value for key, value in of_set.items()})
        return metrics

    def _evaluate_set(
        self, name: str, features: Tensor, labels: Tensor, inside: Tensor, over_ranks: bool
    ) -> dict[str, float]:
        """Figures of one test set.

        Args:
            name: The set's name.
            features: float32 (N, D), of all sets.
            labels: int64 (N, 6).
            inside: bool (N,), the images of this set.
            over_ranks: Share the queries among all ranks.
        """
        parts = [
            inside & (labels[:, _LABELS.index(role)] == 1) for role in ("is_query", "is_gallery")
        ]
        query, gallery = (_rows(features, part).to(self.device) for part in parts)
        (query_pids, query_camids), (gallery_pids, gallery_camids) = (
            labels[part][:, :2].unbind(1) for part in parts
        )

        def rank(*features: Tensor | None, distances: Any = None) -> RankResult:
            arguments = (*features, query_pids, gallery_pids, query_camids, gallery_camids)
            return evaluate_rank(
                *arguments, distances=distances, over_ranks=over_ranks, **self.options
            )

        result = rank(query, gallery)
        if result.num_valid < result.num_queries:
            print_log(
                f"{name}: {result.num_queries - result.num_valid} of {result.num_queries} queries have no match and "
                f"are skipped",
                logger="current",
            )
        results, max_memory = {"": result}, self.options["max_memory"]
        if self.rerank is not None:
            options = dict(
                self.rerank, max_memory=max_memory, reuse_memory=True, over_ranks=over_ranks
            )
            if options.pop("cameras", False):
                options.update(
                    query_cameras=query_camids.numpy(), gallery_cameras=gallery_camids.numpy()
                )
            distances = rerank(query, gallery, **options)
            results["rerank_"] = rank(None, None, distances=distances)
        if self.query_expansion is not None:
            expanded = expand_queries(
                query,
                gallery,
                **self.query_expansion,
                max_memory=max_memory,
                over_ranks=over_ranks,
            )
            results["qe_"] = rank(*expanded)
        if self.center_cameras:
            # Each image once, also one that is query and gallery. Unknown cameras have a number for each image.
            numbers = labels[inside][:, _LABELS.index("camid")]
            _, camera, sizes = numbers.unique(return_inverse=True, return_counts=True)
            cameras = numbers.masked_fill(sizes[camera] == 1, -1)
            images = functional.normalize(features[inside].to(self.device), dim=1)
            centered = center_cameras(images, cameras)
            results["centered_"] = rank(*(centered[part[inside]] for part in parts))
        if self.time_prior is not None:
            known = [self._known(what, name) for what in ("cameras", "times")]
            sides = [values[part.numpy()] for part in parts for values in known]
            timed = self.time_prior.distances(
                distance_blocks(query, gallery, over_ranks=over_ranks), *sides
            )
            results["time_"] = rank(None, None, distances=timed)
        return {
            f"{prefix}{key}": value
            for prefix, result in results.items()
            for key, value in result.summary().items()
        }

    def _known(self, what: str, name: str) -> np.ndarray:
        """Cameras or times of all images, which do not come with the features.

        Raises:
            InputError: The dataset does not tell them.
        """
        values = (self.dataset_meta or {}).get(what)
        if values is None or (what == "times" and not np.isfinite(values).any()):
            raise InputError(
                f"found time_prior, and no {what} of the images of {name}, expected a dataset that reads them "
                "(docs/data.md): leave time_prior out."
            )
        return np.asarray(values)

    def _collect(self, expected: int | None) -> tuple[Tensor, Tensor]:
        """Features and labels of the images of all ranks, in the order of ``sample_idx``, each once; on every rank.

        A batch goes straight to its place on every rank, or in the file, so that none holds all features twice.
        """
        parts, labels = _split(self.results)
        self.results.clear()
        known = on_every_rank(lambda: (labels, [part.shape for part in parts]))
        labels = torch.cat([of_rank for of_rank, _ in known])
        order = _first_of_each(labels, expected)
        place = torch.full((len(labels),), -1).index_copy_(0, order, torch.arange(len(order)))
        shapes = [(rank, shape) for rank, (_, shapes) in enumerate(known) for shape in shapes]
        width = shapes[0][1][1]
        if self.feature_file is not None:
            before = sum(shape[0] for rank, shape in shapes if rank < get_rank())
            return self._written(parts, place[before:], len(order), width), labels[order]
        features = torch.empty(len(order), width)
        group = cpu_group() if self.collect_device == "cpu" else None
        start = 0
        for rank, shape in shapes:
            part = parts.pop(0) if rank == get_rank() else torch.empty(shape)
            if is_distributed():
                part = part.to(get_comm_device(group))
                with noticing_lost_ranks("features were handed out"):
                    dist.broadcast(part, src=rank, group=group)
            rows = place[start : start + len(part)]
            features[rows[rows >= 0]] = part.cpu()[rows >= 0]
            start += len(part)
        return features, labels[order]

    def _written(self, parts: list[Tensor], places: Tensor, num: int, width: int) -> Tensor:
        """Features float32 (num, width) in a file, from the batches of each rank and their places, -1 = nowhere."""
        file = FeatureFile(
            Path(str(self.feature_file)), (num, width), "val_evaluator.feature_file=None"
        )
        lengths = [len(part) for part in parts]
        for part, rows in zip(parts, places[: sum(lengths)].split(lengths)):
            if (known := rows >= 0).any():
                own = rows[known].tolist()
                file.write(own, part[known], [f"image {row}" for row in own])
        return file.mapped()


def _step_options(given: bool | Mapping[str, Any]) -> dict[str, Any] | None:
    """Options of a step that True switches on as it is; None if it is off."""
    if isinstance(given, Mapping):
        return dict(given)
    return {} if given else None


def _split(results: Sequence[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], Tensor]:
    """Features of each batch, and labels int64 (N, 6) of all."""
    none = torch.zeros(0, len(_LABELS), dtype=torch.int64)
    return [part for part, _ in results], torch.cat([none, *(marks for _, marks in results)])


def _first_of_each(labels: Tensor, expected: int | None) -> Tensor:
    """Where each image is met first, in the order of ``sample_idx``: int64 (images,)."""
    _, first = np.unique(labels[:, _LABELS.index("sample_idx")].numpy(), return_index=True)
    if len(first) == 0 or (expected is not None and len(first) != expected):
        raise InputError(
            f"{len(first)} different images reached ReIDMetric, but the test sets have {expected}: use "
            f"sampler=dict(type='DefaultSampler', shuffle=False) and drop_last=False in val_dataloader and "
            f"test_dataloader."
        )
    return torch.from_numpy(first)


def _rows(features: Tensor, chosen: Tensor) -> Tensor:
    """The rows of a mask (N,); a view where they stand together, as those of a gallery mostly do."""
    places = chosen.nonzero()[:, 0]
    if len(places) and int(places[-1]) - int(places[0]) + 1 == len(places):
        return features[int(places[0]) : int(places[-1]) + 1]
    return features[chosen]


def _dump(path: Path, features: Tensor, labels: Tensor, set_names: Sequence[str]) -> None:
    columns: dict[str, Any] = {
        name: column.numpy() for name, column in zip(_LABELS, labels.unbind(1))
    }
    columns.update({role: columns[role].astype(bool) for role in ("is_query", "is_gallery")})
    columns.update(features=features.numpy(), set_names=np.array(set_names))
    write_arrays(path, columns, compressed=False)
