"""Clusterers on Jaccard distances use cameras where they are given, and only there."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.logging import MMLogger

from mmreid_uda.clustering import (
    HDBSCAN,
    Agglomerative,
    EvidenceClustering,
    JaccardDBSCAN,
    cluster_quality,
    dbscan,
)
from mmreid_uda.neighbors import CameraLists, jaccard_graph, unit_rows
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError

PIDS, CAMERAS = np.repeat(np.arange(30), 8), np.tile(np.arange(2), 120)
LISTS = dict(k1_intra=3, k1_inter=4, k2_intra=2, k2_inter=2)


@pytest.fixture(scope="module")
def features():
    """People seen by two cameras that shift all features."""
    rng = np.random.default_rng(0)
    people = rng.standard_normal((30, 64))[PIDS] + 0.6 * rng.standard_normal((240, 64))
    return unit_rows(people + rng.standard_normal((2, 64))[CAMERAS])


@pytest.mark.parametrize("epoch, k2", [(0, 3), (1, 2)])
def test_labels_are_those_of_the_distances_with_three_averaged_in_the_first_epoch(
    features, epoch, k2
):
    lists = CameraLists(**{**LISTS, "k2_intra": k2, "k2_inter": k2})
    graph = jaccard_graph(features, max_distance=0.5, cameras=CAMERAS, camera_lists=lists)
    clusterer = JaccardDBSCAN(eps=0.5, **LISTS)
    prepared = clusterer.prepare(features, cameras=CAMERAS)
    assert prepared["neighbors"].intra.indices.shape == (240, 4)
    options = dict(seed=0, prepared=prepared, cameras=CAMERAS)
    [encodings] = clusterer.encode(features, 0, prepared["neighbors"], epoch=epoch).args
    assert encodings[[5]].nnz <= 2 * k2 * 9
    labels = clusterer(features, epoch=epoch, **options)
    np.testing.assert_array_equal(labels, dbscan(graph, 0.5, 4))
    assert clusterer.info["mean_degree"] == graph.nnz / 240
    cold = JaccardDBSCAN(eps=0.5, **LISTS, camera_warm_up=False)
    np.testing.assert_array_equal(
        cold(features, epoch=0, **options), clusterer(features, epoch=1, **options)
    )


@pytest.mark.parametrize(
    "clusterer",
    [
        JaccardDBSCAN(k1=8, k2=3, **LISTS),
        JaccardDBSCAN(k1=8, k2=3, **LISTS, variant="full"),
        HDBSCAN(k1=8, k2=3, **LISTS),
        Agglomerative(k1=8, k2=3, **LISTS),
    ],
    ids=["DBSCAN", "full", "HDBSCAN", "Agglomerative"],
)
def test_every_clusterer_on_these_distances_tells_people_from_cameras(features, clusterer):
    labels = clusterer(features, seed=0, epoch=1, cameras=CAMERAS)
    inlier = labels >= 0
    assert inlier.mean() > 0.95
    assert len(np.unique([PIDS[inlier], labels[inlier]], axis=1).T) == 30 == labels.max() + 1
    plain = clusterer(features, seed=0, epoch=1)
    across = [np.ptp(CAMERAS[plain == one]) for one in range(plain.max() + 1)]
    assert not any(across), "without cameras every cluster is of one camera"


def test_unknown_cameras_alone_change_nothing(features):
    clusterer = JaccardDBSCAN(eps=0.5)
    unknown = clusterer(features, seed=0, epoch=0, cameras=np.full(240, -1))
    np.testing.assert_array_equal(unknown, clusterer(features, seed=0, epoch=0))


def test_a_source_term_goes_with_cameras(features):
    clusterer = JaccardDBSCAN(eps=0.5, source_weight=0.1, **LISTS)
    labels = clusterer(features, seed=0, epoch=1, cameras=CAMERAS, source_features=features[:9])
    assert len(np.unique(labels)) > 20


@pytest.mark.parametrize(
    "options, num, message",
    [
        (dict(search="hnsw"), 240, "with search='exact' or 'ivf'"),
        (dict(), 20, "found 20 images .* k1_inter=20, expected at least 22"),
    ],
)
def test_what_cameras_do_not_go_with_is_named(features, options, num, message):
    with pytest.raises(InputError, match=message):
        JaccardDBSCAN(**options)(features[:num], seed=0, epoch=0, cameras=CAMERAS[:num])


def test_a_search_that_knows_no_cameras_is_refused_at_once_and_auto_leaves_them_out(features):
    clusterer = JaccardDBSCAN(k1=8, k2=3, search="pq")
    for camera in ("jaccard", "both"):
        with pytest.raises(InputError, match="with search='exact' or 'ivf'"):
            EvidenceClustering(clusterer, camera=camera)
    clustering = EvidenceClustering(clusterer, camera="auto")
    assert clustering.choose(features, Evidence(CAMERAS), seed=0, epoch=1)[0] == "center"


@pytest.mark.parametrize("camera", ["center", "jaccard", "both", "auto"])
def test_every_use_of_cameras_finds_people_across_them(features, camera):
    clustering = EvidenceClustering(JaccardDBSCAN(k1=8, k2=3, **LISTS), camera=camera)
    evidence, options = Evidence(CAMERAS), dict(seed=0, epoch=1)
    if camera == "auto":
        clustering.chosen, metrics = clustering.choose(features, evidence, **options)
        assert clustering.chosen != "none" and metrics["one_camera_share"] == 1
    labels = clustering(clustering.prepare(features, evidence), **options)
    found = cluster_quality(labels, PIDS)
    assert found["precision"] > 0.95 and found["recall"] > 0.9
    plain = EvidenceClustering(clustering.clusterer)
    labels = plain(plain.prepare(features, evidence), **options)
    assert cluster_quality(labels, PIDS)["recall"] < 0.5


@pytest.mark.parametrize("clusterer", [JaccardDBSCAN, HDBSCAN])
def test_a_warm_start_goes_on_where_it_was_stopped(clusterer):
    rng = np.random.default_rng(0)
    first = unit_rows(rng.standard_normal((3000, 16), np.float32))
    second = unit_rows(first + 0.1 * rng.standard_normal(first.shape, np.float32))
    options = dict(k1=10, search="ivf", nprobe=2, warm_start=True)
    through, cold = clusterer(**options), clusterer(**options)
    through(first, seed=0, epoch=0)
    resumed = clusterer(**options)
    state = through.state_dict()
    # mmengine reads checkpoints to the GPU where there is one: NumPy knows no such tensor.
    on_gpu = SimpleNamespace(cpu=lambda: state["last_found"])
    resumed.load_state_dict({**state, "last_found": on_gpu})
    found = [one.prepare(second)["neighbors"] for one in (through, resumed, cold)]
    np.testing.assert_array_equal(found[0].indices, found[1].indices)
    # The lists of before are worth something, or nothing was tested.
    assert through.recall == resumed.recall > cold.recall + 0.05
    assert "last_found" not in clusterer(k1=10, search="ivf").state_dict()


def test_a_warm_start_says_that_images_were_others(features, caplog):
    clusterer = JaccardDBSCAN(k1=10, search="ivf", warm_start=True)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        clusterer.prepare(features)
        clusterer.prepare(features)
        assert "warm_start" not in caplog.text
        found = clusterer.prepare(features[:200])["neighbors"]
    finally:
        logger.removeHandler(caplog.handler)
    assert (
        "neighbours of 240 images or tracklets from the last clustering, and 200 now" in caplog.text
    )
    cold = JaccardDBSCAN(k1=10, search="ivf").prepare(features[:200])["neighbors"]
    np.testing.assert_array_equal(found.indices, cold.indices)


def test_what_auto_looks_at_is_no_recall_of_the_labels(monkeypatch):
    rng = np.random.default_rng(0)
    features = unit_rows(rng.standard_normal((3000, 16), np.float32))
    options = dict(search="ivf", nprobe=2, warm_start=True, min_samples=2)
    clusterer = JaccardDBSCAN(k1=10, eps="auto", **options)
    seen = []
    prepare = clusterer.prepare

    def watched(*args, **kwargs):
        seen.append(clusterer.last_found)
        prepared = prepare(*args, **kwargs)
        seen.append(clusterer.recall)
        return prepared

    monkeypatch.setattr(clusterer, "prepare", watched)
    clusterer(features, seed=0, epoch=0)
    assert clusterer.info["search_recall"] == seen[1] == clusterer.recall != seen[-1]
    assert seen[::2] == [None] * 5 and len(clusterer.last_found) == 3000


def test_what_lists_and_encodings_take_is_no_room_for_pairs(features):
    graph_of = JaccardDBSCAN(k1=10, max_memory="1MiB").encode(features, seed=0)
    taken = 8 * len(features) * 10 + 32 * graph_of.args[0].nnz
    assert graph_of.keywords["max_pairs"] == (2**20 - taken) // 80
