"""Figures of labels that need no identities, against slow independent versions; and what they warn of."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score

from mmreid_uda.clustering import (
    cluster_statistics,
    health_warnings,
    label_agreement,
    label_health,
    one_camera_share,
    rank_correlations,
)
from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError, make_rng


def random_labels(rng, num, clusters):
    """Labels without gaps, some of them outliers."""
    return np.unique(rng.integers(-1, clusters, num), return_inverse=True)[1] - 1


def alone(labels):
    """Every outlier a cluster of its own."""
    return np.where(labels < 0, 10_000 + np.arange(len(labels)), labels)


@pytest.mark.parametrize("seed", range(8))
def test_agreement_is_the_index_of_scikit_learn_with_outliers_alone(seed):
    rng = make_rng(seed, "agreement")
    first, second = (random_labels(rng, 60, clusters) for clusters in (4, 9))
    moved = np.where(rng.random(60) < 0.2, second, first)
    for other in (second, moved, first):
        expected = adjusted_rand_score(alone(first), alone(other))
        assert label_agreement(first, other) == pytest.approx(expected, abs=1e-12)


def test_agreement_of_partitions_of_one_kind():
    nobody, one = np.full(5, -1), np.zeros(5, np.int64)
    assert label_agreement(nobody, nobody) == label_agreement(one, one) == 1
    assert label_agreement(one, nobody) == 0
    assert label_agreement(np.zeros(1, np.int64), np.zeros(1, np.int64)) == 1
    with pytest.raises(InputError, match="labels of 5 and of 4 images"):
        label_agreement(one, one[:4])


def random_evidence(rng, num):
    links = Links(
        *(rng.integers(0, num, 40) for _ in range(2)), rng.random(40) < 0.5, np.ones(40, np.int64)
    )
    tracklets, ignored = rng.integers(-1, 15, num), rng.random(num) < 0.1
    cameras = np.where(tracklets >= 0, tracklets % 3, rng.integers(-1, 3, num))
    times = tracklets // 6 + rng.random(num) * 1.5
    times[rng.random(num) < 0.1] = np.nan
    return Evidence(cameras, times, tracklets, ignored, links)


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_a_slow_loop(seed):
    rng = make_rng(seed, "health")
    evidence, labels = random_evidence(rng, 50), random_labels(rng, 50, 3)
    # Some tracklets are whole.
    for tracklet in range(6):
        labels[evidence.tracklets == tracklet] = tracklet % 3
    found = label_health(labels, previous=labels, mirrored=labels, evidence=evidence)

    whole = []
    for tracklet in set(evidence.tracklets) - {-1}:
        members = [
            labels[image]
            for image in range(50)
            if evidence.tracklets[image] == tracklet and not evidence.ignored[image]
        ]
        if len(members) > 1:
            whole.append(all(one == members[0] >= 0 for one in members))
    spans = {}
    for image in range(50):
        known = np.isfinite(evidence.times[image]) and not evidence.ignored[image]
        if known and min(labels[image], evidence.tracklets[image]) >= 0:
            part = evidence.cameras[image], labels[image], evidence.tracklets[image]
            spans.setdefault(part, []).append(round(evidence.times[image], 3))
    shared = {
        one
        for one, other in permutations(spans, 2)
        if one[:2] == other[:2]
        and min(spans[one]) <= max(spans[other])
        and min(spans[other]) <= max(spans[one])
    }
    counts = dict(must_links=0, must_violated=0, cannot_links=0, cannot_violated=0)
    for first, second, must in zip(
        evidence.links.first, evidence.links.second, evidence.links.must
    ):
        if evidence.ignored[first] or evidence.ignored[second]:
            continue
        together = labels[first] >= 0 and labels[first] == labels[second]
        counts["must_links" if must else "cannot_links"] += 1
        counts["must_violated" if must else "cannot_violated"] += together != must
    share, chance = one_camera_share(labels, evidence.cameras)
    assert found == pytest.approx(
        dict(
            ari_previous=1,
            ari_mirrored=1,
            ignored=evidence.ignored.sum(),
            one_camera_share=share,
            one_camera_chance=chance,
            tracklet_purity=np.mean(whole),
            seen_together=len(shared) / len(spans),
            **counts,
        )
    )
    assert (
        0 < found["tracklet_purity"] < 1
        and 0 < len(shared) < len(spans)
        and counts["cannot_violated"] > 0
    )


def test_what_cannot_be_known_is_no_figure():
    labels = np.array([0, 0, 1, -1])
    assert label_health(labels) == label_health(labels, evidence=Evidence.unknown(4)) == {}
    # One camera, and tracklets of one image.
    evidence = Evidence(np.zeros(4), tracklets=np.arange(4))
    assert label_health(labels, evidence=evidence) == {}


def test_correlations_are_those_of_scipy_over_the_epochs_that_have_both():
    rng = make_rng(0, "epochs")
    history = {
        epoch: dict(clusters=float(clusters), median=7.0, ari_previous=ari)
        for epoch, (clusters, ari) in enumerate(zip(rng.integers(5, 9, 10), rng.random(10)))
    }
    del history[0]["ari_previous"]
    truth = {epoch: dict(mAP=rng.random()) for epoch in (0, 2, 3, 5, 6, 9, 10)}
    for epoch in (2, 3, 5):
        truth[epoch]["ari"] = rng.random()
    # The median never changes, and three epochs have an ARI.
    assert rank_correlations(history, truth) == {
        signal: dict(
            mAP=pytest.approx(
                spearmanr(*([one[epoch][name] for epoch in epochs] for one, name in two))[0]
            )
        )
        for signal, epochs in (("clusters", [0, 2, 3, 5, 6, 9]), ("ari_previous", [2, 3, 5, 6, 9]))
        for two in [((history, signal), (truth, "mAP"))]
    }


# ---- warnings

HEALTHY = dict(
    cluster_statistics(np.arange(100) % 10),
    ari_previous=0.8,
    ari_mirrored=0.7,
    one_camera_share=0.4,
    one_camera_chance=0.3,
    tracklet_purity=0.9,
    seen_together=0.05,
    must_links=40,
    must_violated=2,
    cannot_links=40,
    cannot_violated=2,
)


def warned(*changes):
    """Kinds and epochs of the warnings of a run whose epochs differ from the healthy one by these figures."""
    found = health_warnings({epoch: {**HEALTHY, **one} for epoch, one in enumerate(changes)})
    return [(one.kind, one.epoch) for one in found]


def test_a_healthy_run_is_not_warned_of():
    first = cluster_statistics(np.append(np.arange(40) % 10, np.full(60, -1)))
    assert warned({**first, "ari_previous": 0.3}, dict(one_camera_share=0.85), {}) == []
    assert warned(*(dict(outliers=outliers) for outliers in (72, 65, 58, 51))) == []
    assert warned(dict(ari_previous=1, kept_previous=1), dict(ari_previous=0.45)) == []
    assert warned(cluster_statistics(np.arange(100) % 10 % 3)) == []
    # Few clusters of one camera, and one camera with nearly all images.
    assert warned(dict(one_camera_share=1, one_camera_chance=0.8)) == []


@pytest.mark.parametrize(
    "kind, changes, epoch",
    [
        ("one_camera", [dict(one_camera_share=1.0), dict(one_camera_share=1.0)], 0),
        ("left_out", [dict(outliers=60)] * 4, 2),
        ("merged", [{}, dict(largest=51)], 1),
        ("fewer", [{}, {}, dict(clusters=4)], 2),
        ("ari_previous", [{}, dict(ari_previous=0.3), dict(ari_previous=0.2)], 1),
        ("ari_previous", [dict(ari_previous=one) for one in (0.06, 0.08)], 1),
        ("ari_mirrored", [{}, dict(ari_mirrored=0.3)], 1),
        ("must", [dict(must_violated=3), dict(must_violated=3)], 0),
        ("cannot", [{}, dict(cannot_violated=3)], 1),
        ("seen_together", [{}, dict(seen_together=0.2)], 1),
        ("tracklets", [dict(tracklet_purity=0.4), {}], 0),
    ],
)
def test_each_kind_is_warned_of_once_when_it_is_first_seen(kind, changes, epoch):
    assert warned(*changes) == warned(*changes, {}) == [(kind, epoch)]


def test_a_sentence_has_the_figures_and_says_what_to_do():
    figures = {**HEALTHY, "one_camera_share": 1.0, "one_camera_chance": 0.31}
    [warning] = health_warnings({0: figures})
    assert warning.text.startswith(
        "100% of the clusters hold one camera (chance: 31%): the network"
    )
    for remedy in ("evidence.camera='both'", "'auto'", "stage1", "links"):
        assert remedy in warning.text


def test_figures_that_a_run_has_not_are_not_warned_of():
    bare = cluster_statistics(np.arange(100) % 10)
    assert health_warnings({0: bare, 1: bare}) == []
