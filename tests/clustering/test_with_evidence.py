"""What is known of the images speaks in clustering: nodes, links, time."""

import logging
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from mmreid_uda.clustering import (
    ConstrainedLinkage,
    EvidenceClustering,
    GroundTruthLabels,
    JaccardDBSCAN,
    KMeans,
)
from mmreid_uda.neighbors import CameraLists, jaccard_graph, unit_rows
from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError

PEOPLE, EACH = 8, 12


def crops(seed=0, noise=0.7):
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(PEOPLE), EACH)
    centers = rng.standard_normal((PEOPLE, 32))
    return unit_rows(centers[pids] + noise * rng.standard_normal((len(pids), 32))), pids


def link(*rows):
    first, second, must, priority = np.array(rows, np.int64).reshape(-1, 4).T
    return Links(first, second, must > 0, priority)


def labels_of(clusterer, features, evidence, epoch=0, **options):
    clustering = EvidenceClustering(clusterer, **options)
    labels = clustering(clustering.prepare(features, evidence), seed=0, epoch=epoch)
    return labels, clustering.info


CLUSTERERS = dict(
    dbscan=lambda: JaccardDBSCAN(k1=8, k2=2, min_samples=2),
    linkage=lambda: ConstrainedLinkage(0.5),
    kmeans=lambda: KMeans(num_clusters=PEOPLE),
)


@pytest.mark.parametrize("name", CLUSTERERS)
def test_without_evidence_the_labels_are_those_of_the_clusterer(name):
    features, _ = crops()
    expected = CLUSTERERS[name]()(features, seed=0, epoch=0)
    everything = dict(tracklets=True, time=True, disjoint_cameras=True)
    for evidence in (None, Evidence.unknown(len(features))):
        labels, info = labels_of(CLUSTERERS[name](), features, evidence, **everything)
        np.testing.assert_array_equal(labels, expected)
        assert "nodes" not in info


@pytest.mark.parametrize("name", CLUSTERERS)
def test_links_are_obeyed_by_every_clusterer(name):
    features, pids = crops()
    # A wrong must-link, and cannot-links within two people: somebody knows better.
    rows = [(0, 50, 1, 2), (13, 14, 0, 2), (13, 15, 0, 2), (25, 30, 0, 2)]
    labels, info = labels_of(
        CLUSTERERS[name](), features, Evidence(np.zeros(len(pids)), links=link(*rows))
    )
    assert labels[0] == labels[50] >= 0
    for first, second, must, _ in rows[1:]:
        assert not must and (labels[first] != labels[second] or labels[first] < 0)
    assert labels.max() + 1 == len(np.unique(labels[labels >= 0]))
    assert (info.get("clusters_taken_apart", 0) > 0) == (name == "kmeans")
    ignoring, _ = labels_of(
        CLUSTERERS[name](),
        features,
        Evidence(np.zeros(len(pids)), links=link(*rows)),
        links=False,
    )
    np.testing.assert_array_equal(ignoring, CLUSTERERS[name]()(features, seed=0, epoch=0))


@pytest.mark.parametrize("name", CLUSTERERS)
def test_ignored_images_take_no_part(name):
    features, pids = crops()
    ignored = np.arange(len(pids)) % 5 == 0
    labels, info = labels_of(
        CLUSTERERS[name](), features, Evidence(np.zeros(len(pids)), ignored=ignored)
    )
    assert (labels[ignored] == -1).all()
    alone = CLUSTERERS[name]()(features[~ignored], seed=0, epoch=0)
    np.testing.assert_array_equal(labels[~ignored], alone)
    assert info["nodes"] == (~ignored).sum()


def test_all_ignored_is_an_error():
    evidence = Evidence(np.zeros(4), ignored=np.ones(4))
    with pytest.raises(InputError, match="4 images, all of them with a link 'ignore'"):
        labels_of(ConstrainedLinkage(0.5), np.eye(4, dtype=np.float32), evidence)


@pytest.mark.parametrize("name", CLUSTERERS)
def test_tracklets_stay_together(name):
    features, pids = crops(noise=1.3)
    # Four images of a person in a row are a tracklet, two of each person are not followed.
    tracklets = np.where(np.arange(len(pids)) % EACH < 10, np.arange(len(pids)) // 2, -1)
    evidence = Evidence(np.zeros(len(pids)), np.arange(len(pids)), tracklets)
    labels, info = labels_of(
        CLUSTERERS[name](), features, evidence, tracklets=True, cut_tracklets=None
    )
    for number in np.unique(tracklets[tracklets >= 0]):
        assert len(np.unique(labels[tracklets == number])) == 1
    assert info["nodes"] == 5 * PEOPLE + 2 * PEOPLE and info["tracklet_cuts"] == 0


def test_nodes_are_unit_means_of_what_belongs_together():
    features, _ = crops()
    evidence = Evidence(
        np.arange(96) % 3, tracklets=np.arange(96) // 4, ignored=np.arange(96) >= 92
    )
    clustering = EvidenceClustering(ConstrainedLinkage(0.5), tracklets=True, cut_tracklets=None)
    nodes = clustering.prepare(features, evidence)
    expected = unit_rows(features.reshape(24, 4, 32).mean(1)[:23])
    np.testing.assert_allclose(nodes.features.numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(nodes.of_image[:92], np.arange(92) // 4)
    assert (nodes.of_image[92:] == -1).all()
    assert nodes.constraints.sizes.tolist() == [4] * 23
    # Other features of the same images come the same way, centering included.
    clustering = EvidenceClustering(
        ConstrainedLinkage(0.5), camera="center", tracklets=True, cut_tracklets=None
    )
    nodes = clustering.prepare(features, evidence)
    torch.testing.assert_close(nodes.pool(torch.from_numpy(features)), nodes.features)


def test_who_is_seen_at_once_is_two_people():
    features, pids = crops(noise=0.1)
    # Two people who look the same walk through two cameras.
    features[pids == 1] = features[pids == 0]
    times = np.tile(np.arange(EACH), PEOPLE) * 1.0
    cameras = np.where(pids == 1, 1, 0)
    tracklets = pids
    options = dict(tracklets=True, cut_tracklets=None)
    together = Evidence(cameras, times, tracklets, camera_names=["hall", "yard"])
    merged = ConstrainedLinkage(0.3, min_cluster_size=1)
    assert labels_of(merged, features, together, **options)[0].max() + 1 == PEOPLE - 1
    assert labels_of(merged, features, together, **options, time=True)[0].max() + 1 == PEOPLE - 1
    for disjoint in (True, [["hall", "yard"]], [[1, 0]]):
        labels, info = labels_of(
            merged, features, together, **options, time=True, disjoint_cameras=disjoint
        )
        np.testing.assert_array_equal(labels, pids)
        assert info["refused_joins"] == 1
    # Seen together for eleven seconds: less than is asked for.
    for overlap, num in ((11, PEOPLE), (11.5, PEOPLE - 1)):
        labels, _ = labels_of(
            merged,
            features,
            together,
            **options,
            time=True,
            disjoint_cameras=True,
            min_overlap=overlap,
        )
        assert labels.max() + 1 == num
    with pytest.raises(InputError, match="'roof', which is no camera"):
        labels_of(merged, features, together, time=True, disjoint_cameras=[["roof", "yard"]])


def test_images_of_one_instant_are_different_people():
    features, pids = crops(noise=0.1)
    features[pids == 1] = features[pids == 0]
    times = np.tile(np.arange(EACH), PEOPLE) * 1.0
    evidence = Evidence(np.zeros(len(pids)), times)
    labels, _ = labels_of(ConstrainedLinkage(0.3), features, evidence, time=True)
    for instant in range(EACH):
        found = labels[times == instant]
        assert len(np.unique(found[found >= 0])) == (found >= 0).sum()


def test_rejected_links_are_counted_and_named(monkeypatch):
    features, pids = crops()
    rows = [(0, 1, 1, 2), (0, 1, 0, 1), (2, 3, 0, 2), (3, 4, 1, 2), (2, 4, 1, 1), (5, 6, 0, 1)]
    evidence = Evidence(
        np.zeros(len(pids)),
        tracklets=np.where(np.isin(np.arange(96), [5, 6]), 0, -1),
        links=link(*rows),
    )
    said = []
    logger = MMLogger.get_instance("links")
    monkeypatch.setattr(logger, "handlers", [])
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger.addHandler(handler)
    _, info = labels_of(CLUSTERERS["dbscan"](), features, evidence, tracklets=True)
    assert info["rejected_links"] == 3
    assert len(said) == 1 and "3 of 6 links" in said[0]
    assert "1 must-links of what cannot-links separate, 2 cannot-links" in said[0]
    assert "cannot of images 0 and 1, must of images 2 and 4, cannot of images 5 and 6" in said[0]
    with pytest.raises(InputError, match=r"3 of 6 links.*evidence.strict_links"):
        labels_of(CLUSTERERS["dbscan"](), features, evidence, tracklets=True, strict_links=True)


def test_extras_of_images_become_those_of_nodes():
    features, pids = crops()
    evidence = Evidence(np.zeros(len(pids)), tracklets=np.arange(len(pids)) // 4)
    clustering = EvidenceClustering(GroundTruthLabels(), tracklets=True, cut_tracklets=None)
    labels = clustering(clustering.prepare(features, evidence), seed=0, epoch=0, true_labels=pids)
    np.testing.assert_array_equal(labels, pids)


def test_a_cluster_that_holds_strangers_is_taken_apart_by_nearness():
    # One cluster of KMeans: two heaps, and somebody says that one image of each is not the same.
    angles = np.radians([0, 3, 6, 9, 40, 43, 46, 49, 180, 183])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    evidence = Evidence(np.zeros(10), links=link((0, 7, 0, 2)))
    labels, info = labels_of(KMeans(num_clusters=2), features, evidence)
    assert info["clusters_taken_apart"] == 1
    assert len(np.unique(labels[:4])) == len(np.unique(labels[4:8])) == 1
    assert len(np.unique(labels)) == 3 and (labels >= 0).all()


def test_tracklets_are_cut_at_the_first_clustering_and_stay_cut_after_a_resume():
    rng = np.random.default_rng(0)
    people = rng.standard_normal((6, 32))
    # Tracklet 0 goes over to another person, the others follow one each.
    who = np.repeat([0, 1, 2, 3, 4, 5], [8, 8, 16, 16, 16, 16])
    tracklets = np.repeat([0, 1, 2, 3, 4], 16)
    first, later = (
        unit_rows((people[rows] + 0.1 * rng.standard_normal((80, 32))).astype(np.float32))
        for rows in (who, np.where(np.arange(80) >= 72, 0, np.maximum(who, 1)))
    )
    evidence = Evidence(np.zeros(80), np.arange(80), tracklets)
    clustering = EvidenceClustering(ConstrainedLinkage(0.5), tracklets=True, cut_tracklets=8.0)
    assert clustering.prepare(first, evidence).info["tracklet_cuts"] == 1
    assert clustering.prepare(later, evidence).info["tracklet_cuts"] == 1
    again = EvidenceClustering(ConstrainedLinkage(0.5), tracklets=True, cut_tracklets=8.0)
    assert not np.array_equal(
        deepcopy(again).prepare(later, evidence).of_image,
        clustering.prepare(first, evidence).of_image,
    )
    again.load_state_dict(clustering.state_dict())
    nodes = again.prepare(later, evidence)
    np.testing.assert_array_equal(nodes.of_image, clustering.prepare(first, evidence).of_image)


def test_a_required_view_of_the_images_is_centered_as_they_are():
    class TwoViews(GroundTruthLabels):
        requires = ("mirrored_features",)

        def cluster(self, features, *, seed, epoch, eps_scale, **extras):
            np.testing.assert_allclose(extras["mirrored_features"], features, atol=1e-6)
            return np.zeros(len(features), np.int64)

    features, pids = crops()
    clustering = EvidenceClustering(TwoViews(), camera="center")
    nodes = clustering.prepare(features, Evidence(np.arange(len(pids)) % 3))
    assert not np.allclose(nodes.features.numpy(), features)
    clustering(nodes, seed=0, epoch=0, mirrored_features=features)


@pytest.mark.parametrize("camera", ["center", "jaccard", "both"])
def test_what_nobody_knows_changes_nothing_and_is_warned_of_once(camera, monkeypatch):
    features, _ = crops()
    said = []
    monkeypatch.setattr(
        "mmreid_uda.clustering.with_evidence.print_log", lambda text, **options: said.append(text)
    )
    clustering = EvidenceClustering(
        CLUSTERERS["dbscan"](), camera=camera, tracklets=True, time=True
    )
    evidence = Evidence(np.full(len(features), -1), np.arange(len(features)))
    expected = CLUSTERERS["dbscan"]()(features, seed=0, epoch=0)
    for epoch in range(2):
        nodes = clustering.prepare(features, evidence)
        np.testing.assert_array_equal(clustering(nodes, seed=0, epoch=epoch), expected)
    assert said == [
        f"clustering: evidence.{asked} does nothing, as no image has a known {what}"
        for asked, what in (
            (f"camera='{camera}'", "camera"),
            ("tracklets=True", "tracklet"),
            ("time=True", "time and camera"),
        )
    ]


def test_features_are_not_centered_beside_those_of_sources(monkeypatch):
    abmt = JaccardDBSCAN(k1=8, k2=2, min_samples=2, source_weight=0.1)
    for camera in ("center", "both"):
        with pytest.raises(InputError, match=f"camera=.{camera}. .* features of sources"):
            EvidenceClustering(abmt, camera=camera)
    tried = []
    monkeypatch.setattr(
        "mmreid_uda.clustering.with_evidence.choose_camera",
        lambda label, cameras, modes: tried.extend(modes),
    )
    EvidenceClustering(abmt, camera="auto").choose(crops()[0], Evidence(np.arange(96) % 2))
    assert tried == ["none", "jaccard"]


def test_what_a_resumed_run_is_told_anew_goes_before_its_state():
    features, _ = crops(noise=0.1)
    tracklets = np.arange(96) // 4
    clustering = EvidenceClustering(ConstrainedLinkage(0.5), tracklets=True)
    clustering.prepare(features, Evidence(np.zeros(96), tracklets=tracklets))
    state = clustering.state_dict()
    believing = EvidenceClustering(ConstrainedLinkage(0.5), tracklets=True, cut_tracklets=None)
    believing.load_state_dict({**state, "switches": torch.ones_like(state["switches"])})
    assert (
        believing.prepare(features, Evidence(np.zeros(96), tracklets=tracklets)).info[
            "tracklet_cuts"
        ]
        == 0
    )
    again = EvidenceClustering(ConstrainedLinkage(0.5), tracklets=True)
    again.load_state_dict(state)
    with pytest.raises(InputError, match="at 84 places, expected 72"):
        again.prepare(features, Evidence(np.zeros(96), tracklets=np.arange(96) // 8))


def same_graph(found, expected):
    assert found.shape == expected.shape and found.dtype == np.float32
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.data, expected.data)


def test_distances_are_those_that_were_clustered():
    features, pids = crops()
    clustering = EvidenceClustering(JaccardDBSCAN(k1=8, k2=2, min_samples=2))
    nodes = clustering.prepare(features, Evidence.unknown(len(pids)))
    found = clustering.distances(nodes, 0.4, seed=0, epoch=0)
    same_graph(found, jaccard_graph(features, 8, 2, max_distance=0.4))
    assert found.data.max() <= 0.4 and (found.diagonal() == 0).all()
    # CA-Jaccard
    cameras = np.tile(np.arange(3), len(pids) // 3)
    aware = EvidenceClustering(JaccardDBSCAN(k1=8, k2=2, k2_intra=2, k2_inter=4), camera="both")
    nodes = aware.prepare(features, Evidence(cameras))
    for epoch, average in ((0, (3, 3)), (1, (2, 4))):
        lists = CameraLists(k2_intra=average[0], k2_inter=average[1])
        centered = unit_rows(nodes.features.numpy())
        expected = jaccard_graph(
            centered, 8, 2, max_distance=0.3, cameras=cameras, camera_lists=lists
        )
        same_graph(aware.distances(nodes, 0.3, seed=0, epoch=epoch), expected)


def test_images_of_a_tracklet_are_as_near_as_their_nodes_and_ignored_ones_near_none():
    features, pids = crops(noise=0.4)
    ignored = np.arange(len(pids)) == 4
    tracklets = np.arange(len(pids)) // 3
    evidence = Evidence(np.zeros(len(pids)), tracklets=tracklets, ignored=ignored)
    clustering = EvidenceClustering(
        JaccardDBSCAN(k1=6, k2=2, min_samples=2), tracklets=True, cut_tracklets=None
    )
    nodes = clustering.prepare(features, evidence)
    found = clustering.distances(nodes, 0.5, seed=0, epoch=0)
    small = clustering.clusterer.distances(
        nodes.features.numpy(), 0.5, seed=0, epoch=0, prepared=nodes.prepared
    ).tocoo()
    stored = {(i, j): value for i, j, value in zip(small.row, small.col, small.data)}
    expected = {
        (i, j): stored[a, b]
        for i, a in enumerate(nodes.of_image)
        for j, b in enumerate(nodes.of_image)
        if (a, b) in stored
    }
    found = found.tocoo()
    assert dict(zip(zip(found.row, found.col), found.data)) == expected
    assert nodes.of_image[4] == -1 and 4 not in found.row and (3, 5) in expected


def test_a_clusterer_without_distances_says_so():
    features, _ = crops()
    clustering = EvidenceClustering(KMeans(num_clusters=PEOPLE))
    nodes = clustering.prepare(features)
    with pytest.raises(InputError, match=r"found KMeans, which makes no graph .*JaccardDBSCAN"):
        clustering.distances(nodes, 0.2, seed=0, epoch=0)
    dbscan = JaccardDBSCAN()
    with pytest.raises(InputError, match=r"max_distance=1\.5"):
        dbscan.distances(features, 1.5, seed=0, epoch=0)


def test_neighbors_are_searched_again_only_where_nodes_have_changed():
    features, _ = crops()
    clusterer = JaccardDBSCAN(0.5, 4, k1=10, k2=3)
    searches, search = [], clusterer.prepare
    clusterer.prepare = lambda *args, **kwargs: searches.append(1) or search(*args, **kwargs)
    clustering = EvidenceClustering(clusterer, camera="jaccard")
    cameras = np.arange(len(features)) % 2
    nodes = clustering.prepare(features, Evidence(cameras))
    linked = Evidence(cameras, links=link((0, 1, 0, 2), (0, 40, 1, 2)))
    again = clustering.prepare(features, linked, known=nodes)
    assert len(searches) == 1 and again.prepared is nodes.prepared
    options = dict(seed=0, epoch=1)
    fresh = clustering(clustering.prepare(features, linked), **options)
    assert np.array_equal(clustering(again, **options), fresh) and fresh[0] == fresh[40] != fresh[1]
    ignored = Evidence(cameras, ignored=np.arange(len(features)) < 3)
    for evidence in (ignored, Evidence(1 - cameras)):
        assert clustering.prepare(features, evidence, known=nodes).prepared is not nodes.prepared
    assert (
        clustering.prepare(features[::-1].copy(), linked, known=nodes).prepared
        is not nodes.prepared
    )
