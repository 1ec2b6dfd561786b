"""The ways from features to labels that the benchmark of clustering compares: the papers' dense algorithm, and ours."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from dense_jaccard import (
    average_encodings,
    distances_from_lists,
    expanded_set,
    reciprocal_neighbors,
)
from sklearn.cluster import DBSCAN
from torch import Tensor
from torch.nn import functional

from mmreid_uda.clustering import JaccardDBSCAN, dbscan
from mmreid_uda.neighbors import (
    CameraLists,
    CameraNeighbors,
    Neighbors,
    find_camera_neighbors,
    find_neighbors,
    jaccard_distances,
    jaccard_encodings,
)
from mmreid_uda.utils import without_kernels

REFERENCE, FLOAT32, INT8, CAMERAS = "reference", "float32", "int8", "camera-aware"
PLAIN, CLUSTERER = "without kernels", "JaccardDBSCAN"
"""The sides; each takes its turn in every repetition."""

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Settings:
    """What both sides are told.

    Args:
        k1: Neighbours of the k-reciprocal sets.
        k2: Neighbours of the query expansion.
        eps: Radius of DBSCAN.
        min_samples: Neighbours of a core image.
        gpu: Search for neighbours on the GPU; everything behind it stays on the CPU, as in the papers' code.
        cameras: int32 (N,), for the camera-aware side; None leaves it out.
    """

    k1: int
    k2: int
    eps: float
    min_samples: int
    gpu: bool
    cameras: np.ndarray | None = None


@dataclass
class Run:
    """One run of one side.

    Args:
        labels: int64 (N,), -1 = outlier.
        seconds: Per step, in order; the first is 'knn'.
        cpu: Seconds of all threads, per step; empty where only their sum is known.
        cpu_seconds: Of all threads and steps.
    """

    labels: np.ndarray
    seconds: dict[str, float]
    cpu: dict[str, float]
    cpu_seconds: float

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return sum(self.seconds.values())


@dataclass
class Clock:
    """Seconds since the last lap, by name."""

    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)
    cpu_last: float = field(default_factory=time.process_time)

    def lap(self, name: str) -> None:
        """End a step."""
        now, cpu_now = time.perf_counter(), time.process_time()
        self.seconds[name], self.last = now - self.last, now
        self.cpu[name], self.cpu_last = cpu_now - self.cpu_last, cpu_now

    def run(self, labels: np.ndarray) -> Run:
        """End the run."""
        return Run(labels, self.seconds, self.cpu, sum(self.cpu.values()))


# ---- the reference: the papers' dense algorithm


def reference(features: np.ndarray, settings: Settings) -> Run:
    """From features to labels as the papers' code does it."""
    clock = Clock()
    ranks = reference_ranks(features, settings)
    clock.lap("knn")
    rows = torch.from_numpy(features)

    def similarities(image: int, others: np.ndarray) -> Tensor:
        return rows[image].unsqueeze(0).contiguous() @ rows[others].T

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its products are so small that a second thread would slow it down
    encodings = reference_encodings(ranks, settings, similarities)
    torch.set_num_threads(threads)
    clock.lap("encodings")
    distances = reference_distances(encodings)
    del encodings
    clock.lap("distances")
    labels = reference_labels(distances, settings)
    clock.lap("dbscan")
    return clock.run(labels)


def reference_ranks(features: np.ndarray, settings: Settings) -> np.ndarray:
    """The first k1 of an exact search by Euclidean distance, int64 (N, k1); torch where there is no faiss for it."""
    k1 = min(settings.k1, len(features))
    if reference_search(settings.gpu) == "torch":
        rows = torch.from_numpy(features).to("cuda" if settings.gpu else "cpu")
        ranks = [(part @ rows.T).topk(k1, dim=1).indices for part in rows.split(_ROWS_AT_ONCE)]
        return torch.cat(ranks).cpu().numpy()
    import faiss

    index = faiss.IndexFlatL2(features.shape[1])
    index.add(features)
    return index.search(features, k1)[1]


def reference_search(gpu: bool) -> str:
    """Who searches: ``'faiss'`` or ``'torch'``."""
    return "torch" if gpu or importlib.util.find_spec("faiss") is None else "faiss"


def reference_encodings(
    ranks: np.ndarray, settings: Settings, similarities: Callable[[int, np.ndarray], Tensor]
) -> np.ndarray:
    """k-reciprocal sets, their expansion, softmax weights and local query expansion, in dense matrices.

    Args:
        ranks: int (N, k1).
        settings: The parameters.
        similarities: Cosines float32 (1, M) of an image with M others.

    Returns:
        float32 (N, N).
    """
    num, k1, k2 = len(ranks), settings.k1, settings.k2
    whole_sets, half_sets = [], []
    for i in range(num):
        whole_sets.append(reciprocal_neighbors(ranks, i, k1))
        half_sets.append(reciprocal_neighbors(ranks, i, int(np.around(k1 / 2))))

    encodings = np.zeros((num, num), dtype=np.float32)
    for i in range(num):
        members = expanded_set(whole_sets[i], half_sets.__getitem__)
        distances = 2 - 2 * similarities(i, members)
        encodings[i, members] = functional.softmax(-distances, dim=1).view(-1).cpu().numpy()
    return encodings if k2 == 1 else average_encodings(encodings, ranks, k2)


def reference_distances(encodings: np.ndarray) -> np.ndarray:
    """Jaccard distances of all pairs, float32 (N, N)."""
    distances = distances_from_lists(encodings, len(encodings))
    distances[distances < 0] = 0.0
    return distances


def reference_labels(distances: np.ndarray, settings: Settings) -> np.ndarray:
    """scikit-learn's DBSCAN on all pairs."""
    clusterer = DBSCAN(
        eps=settings.eps, min_samples=settings.min_samples, metric="precomputed", n_jobs=-1
    )
    return clusterer.fit_predict(distances)


# ---- ours


def ours(
    features: np.ndarray, settings: Settings, precision: Literal["float32", "int8"] = "float32"
) -> Run:
    """From features to labels by the library's functions."""
    clock = Clock()
    return label(features, settings, search(features, settings, precision), clock)


def camera_aware(features: np.ndarray, settings: Settings) -> Run:
    """The same with the lists of the camera-aware distance, in float32."""
    clock = Clock()
    assert settings.cameras is not None
    cameras = settings.cameras[: len(features)]
    rows = torch.from_numpy(features).to("cuda" if settings.gpu else "cpu")
    needed = CameraLists().needed(cameras, settings.k1, settings.k2)
    neighbors = find_camera_neighbors(rows, cameras, *needed)
    assert neighbors is not None
    return label(features, settings, neighbors, clock)


def label(
    features: np.ndarray, settings: Settings, neighbors: Neighbors | CameraNeighbors, clock: Clock
) -> Run:
    """What comes after the search."""
    clock.lap("knn")
    encodings = jaccard_encodings(features, neighbors, settings.k1, settings.k2)
    clock.lap("encodings")
    graph = jaccard_distances(encodings, settings.eps)
    clock.lap("distances")
    labels = dbscan(graph, settings.eps, settings.min_samples)
    clock.lap("dbscan")
    return clock.run(labels)


def search(
    features: np.ndarray, settings: Settings, precision: Literal["float32", "int8"] = "float32"
) -> Neighbors:
    """Our neighbours, on the device of the settings."""
    rows = torch.from_numpy(features).to("cuda" if settings.gpu else "cpu")
    found = find_neighbors(rows, min(settings.k1, len(features)), precision=precision)
    assert found is not None
    return found


def configured(features: np.ndarray, settings: Settings) -> Run:
    """The clusterer of the configs, its checks included (they count as part of the search); always on the CPU."""
    clock = Clock()
    clusterer = JaccardDBSCAN(
        eps=settings.eps, min_samples=settings.min_samples, k1=settings.k1, k2=settings.k2
    )
    labels = clusterer(features, seed=0, epoch=0)
    clock.lap("knn")
    for step in ("jaccard", "dbscan"):
        clock.seconds[step] = clusterer.info[f"seconds_{step}"]
        clock.seconds["knn"] -= clock.seconds[step]
    run = clock.run(labels)
    run.cpu.clear()
    return run


SIDES: dict[str, Callable[[np.ndarray, Settings], Run]] = {
    REFERENCE: reference,
    FLOAT32: ours,
    INT8: partial(ours, precision="int8"),
    PLAIN: without_kernels()(ours),
    CAMERAS: camera_aware,
    CLUSTERER: configured,
}
