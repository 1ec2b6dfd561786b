"""Ranks that share the search for neighbours find those of one process, and none waits for one that has died."""

import importlib
import os
import signal
import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from processes import enter_rank

from mmreid_uda.clustering import InfoMap, JaccardDBSCAN
from mmreid_uda.neighbors import (
    approximate,
    compiled_search,
    find_neighbors,
    jaccard_numba,
    jaccard_ranks,
    unit_rows,
    write_neighbors,
)
from mmreid_uda.utils import InputError, kernels_available, without_kernels
from mmreid_uda.utils.dist import assert_same_on_ranks, run_on_rank0

pytestmark = pytest.mark.slow

# The function of this name hides the module in the package.
knn_module = importlib.import_module("mmreid_uda.neighbors.knn")

CAMERAS = np.random.default_rng(5).choice([-1, 0, 1, 2], 1500, p=[0.05, 0.45, 0.48, 0.02])
CLUSTERERS = {
    "faiss": dict(eps=0.6, k1=20),
    "full": dict(eps="rho", k1=20, variant="full"),
    "int8": dict(eps=0.6, k1=20, precision="int8"),
    "cameras": dict(eps=0.6),
    "full, cameras, int8": dict(eps=0.6, variant="full", precision="int8"),
    "full, int8": dict(eps="rho", k1=20, variant="full", precision="int8"),
    "auto": dict(eps="auto", k1="auto", min_samples=2),
}


def features():
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((60, 64))
    return unit_rows(
        centers[rng.integers(0, 60, 1500)] + 0.9 * rng.standard_normal((1500, 64))
    ).astype(np.float32)


def clustered(rank, name, kernels):
    with pytest.MonkeyPatch.context() as patch:
        # Where int8 is asked for, also if it is slow here; and several blocks for each rank.
        patch.setattr(compiled_search, "_FEWEST_DIMENSIONS", 1)
        patch.setattr(compiled_search, "_faster", {64: "int8"})
        patch.setattr(knn_module, "KERNEL_BLOCK", 256)
        patch.setattr(knn_module, "TORCH_BLOCK", 256)
        if kernels:
            return _clustered(rank, name)
        with without_kernels():
            return _clustered(rank, name)


def _clustered(rank, name):
    clusterer = JaccardDBSCAN(**CLUSTERERS[name])
    cameras = CAMERAS if "cameras" in name else None
    prepared = clusterer.prepare(torch.from_numpy(features()), over_ranks=True, cameras=cameras)
    labels = run_on_rank0(
        lambda: clusterer(features(), seed=0, epoch=0, prepared=prepared, cameras=cameras)
    )
    if rank:
        return None
    found = prepared["neighbors"]
    if cameras is not None:
        found = found.together()
    return found.indices, found.similarities, found.min_similarity, labels


@pytest.mark.parametrize("name", CLUSTERERS)
def test_ranks_together_find_what_one_finds(run_ranks, name):
    [first, *others] = run_ranks(clustered, 2 if "full" in name else 3, args=(name, True))
    assert all(other is None for other in others)
    alone = clustered(0, name, True)
    for ours, expected in zip(first, alone):
        np.testing.assert_array_equal(ours, expected)
    assert alone[-1].max() > 30, "the example has clusters"


def test_ranks_without_kernels_find_it_too(run_ranks):
    for name in ("full", "cameras"):
        first, _ = run_ranks(clustered, args=(name, False))
        for ours, expected in zip(first, clustered(0, name, False)):
            np.testing.assert_array_equal(ours, expected)


def distances(rank, name, kernels):
    """Graphs up to several limits, one refused for its memory between them; and whether this rank took part."""
    if not kernels:
        with without_kernels():
            return distances(rank, name, True)
    clusterer = JaccardDBSCAN(**CLUSTERERS[name], max_memory="1GiB")
    cameras = CAMERAS if "cameras" in name else None
    prepared = clusterer.prepare(torch.from_numpy(features()), over_ranks=True, cameras=cameras)
    options = dict(seed=0, epoch=0, prepared=prepared, cameras=cameras)
    # Not a row for each rank.
    rows = torch.from_numpy(features()[:2])
    few = dict(prepared=JaccardDBSCAN().prepare(rows, over_ranks=True), cameras=None)

    def graphs():
        made = [clusterer.distances(features(), limit, **options) for limit in (0.4, 0.97)]
        clusterer.max_memory = 1 << 16
        with pytest.raises(InputError, match="more than 0 pairs"):
            clusterer.distances(features(), 0.4, **options)
        clusterer.max_memory = None
        made.append(clusterer.distances(features(), 0.6, **options))
        made.append(JaccardDBSCAN().distances(features()[:2], 0.6, **(options | few)))
        return [[graph.indptr, graph.indices, graph.data] for graph in made]

    made = run_on_rank0(graphs)
    ranks = (prepared or {}).get("ranks")
    return made, ranks is not None and ranks._encodings is not None


@pytest.mark.parametrize("name", ["faiss", "full", "cameras"])
def test_ranks_together_make_the_graph_that_one_makes(run_ranks, name):
    expected, alone = distances(0, name, True)
    assert not alone, "one process shares nothing"
    if not kernels_available():
        pytest.skip("without kernels rank 0 makes the graph")
    for made, took_part in run_ranks(distances, 3, args=(name, True)):
        assert took_part
        for arrays, wanted in zip(made, expected):
            for array, one in zip(arrays, wanted):
                np.testing.assert_array_equal(array, one, strict=True)


def prepare_with_kernels_on_one(rank, search):
    if rank:
        with without_kernels():
            return prepare_with_kernels_on_one(0, search)
    with pytest.raises(InputError, match=r"numba.* on rank\(s\) \[1\] differs from rank 0"):
        JaccardDBSCAN(search=search).prepare(torch.from_numpy(features()), over_ranks=True)
    return True


def test_ranks_of_which_some_have_kernels_deal_nothing_out(run_ranks):
    if not kernels_available():
        pytest.skip("no rank has kernels")
    assert run_ranks(prepare_with_kernels_on_one, 2, args=("exact",)) == [True, True]
    assert run_ranks(prepare_with_kernels_on_one, 2, args=("ivf",)) == [True, True]


def fail_on_rank_1(rank):
    """Rank 1 fails in its share of the pairs, and between the shares; then all is well again."""
    clusterer = JaccardDBSCAN(**CLUSTERERS["faiss"])
    prepared = clusterer.prepare(torch.from_numpy(features()), over_ranks=True)
    options = dict(seed=0, epoch=0, prepared=prepared)

    def fail(*args, **options):
        raise MemoryError("no room for pairs")

    said = []
    for module, name in (
        (jaccard_numba, "_concatenated"),
        (jaccard_ranks, "jaccard_encodings"),
        (jaccard_ranks, "find_pairs"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            if rank:
                patch.setattr(module, name, fail)
            try:
                run_on_rank0(lambda: clusterer(features(), **options))
            except RuntimeError as error:
                said.append(str(error))
    return said, run_on_rank0(lambda: clusterer(features(), **options))


def test_an_error_of_one_rank_ends_the_step_on_all_of_them_and_no_more(run_ranks):
    if not kernels_available():
        pytest.skip("without kernels rank 0 makes the graph")
    expected = JaccardDBSCAN(**CLUSTERERS["faiss"])(features(), seed=0, epoch=0)
    for said, labels in run_ranks(fail_on_rank_1):
        assert len(said) == 3 and all("rank 1 failed: no room for pairs" in one for one in said)
        np.testing.assert_array_equal(labels, expected)


def approximate_neighbors(rank, search, width):
    pytest.importorskip("faiss").omp_set_num_threads(1)
    approximate._ROWS = 200  # an odd number of blocks
    clusterer = JaccardDBSCAN(k1=20, search=search, nprobe=width, refine=4, warm_start=True)
    prepared = [clusterer.prepare(torch.from_numpy(features()), over_ranks=True) for _ in range(2)]
    lists = [(one or {}).get("neighbors") for one in prepared]
    return [one and (one.indices, one.similarities) for one in lists], clusterer.recall


@pytest.mark.parametrize("search, width", [("ivf", 3), ("pq", 3), ("file", 0)])
def test_ranks_together_search_approximately_as_one(run_ranks, search, width, tmp_path):
    if search == "file":
        write_neighbors(tmp_path / "found.npz", find_neighbors(features(), 25).indices[:, ::-2])
        search = f"file:{tmp_path / 'found.npz'}"
    (first, recall), (second, same) = run_ranks(
        approximate_neighbors, 2, args=(search, max(width, 1))
    )
    assert second == [None, None] and recall == same < 1
    alone, expected = approximate_neighbors(0, search, max(width, 1))
    assert recall == expected
    for ours, theirs in zip(first, alone):
        for one, other in zip(ours, theirs):
            np.testing.assert_array_equal(one, other)


def infomap_neighbors(rank):
    prepared = InfoMap().prepare(torch.from_numpy(features()), over_ranks=True)
    return prepared and prepared["neighbors"].indices


def test_infomap_shares_the_search_too(run_ranks):
    pytest.importorskip("infomap")
    first, second = run_ranks(infomap_neighbors)
    assert second is None
    np.testing.assert_array_equal(first, infomap_neighbors(0))


def prepare_or_die(rank):
    """Rank 1 is killed in the midst of the search; rank 0 tells what it heard of it."""
    assert_same_on_ranks({"seed": 0})  # as at the start of a training
    if rank == 1:
        knn_module.search_by_kernels = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
    try:
        JaccardDBSCAN().prepare(torch.from_numpy(features()), over_ranks=True)
    except InputError as error:
        return str(error)
    return "no error"


@pytest.mark.skipif(
    not kernels_available(), reason="the search to be interrupted is the compiled one"
)
def test_a_rank_that_dies_in_the_step_ends_the_others_with_a_sentence():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    processes = [
        context.Process(target=enter_rank, args=(rank, 2, port, prepare_or_die, (), queue))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    try:
        processes[0].join(timeout=100)
        assert not processes[0].is_alive(), "rank 0 hangs"
        assert processes[1].exitcode == -signal.SIGKILL
        rank, message = queue.get()
        assert rank == 0 and "rank 0 lost another of the 2 processes" in message
        assert "--resume" in message
    finally:
        for process in processes:
            process.kill()
