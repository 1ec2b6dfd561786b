"""The table of clusters says what a slow count says, and puts first what a person would mend first."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import make_review, people

from mmreid_uda.review.clusters import cluster_table
from mmreid_uda.structures import Evidence, Links


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def test_the_figures_are_those_of_a_slow_count():
    features, _ = people(80, 7, seed=3)
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 9, size=80)
    labels[labels == 4] = 5  # a gap in the numbers
    links = Links(
        rng.integers(40, size=30),
        40 + rng.integers(40, size=30),
        rng.random(30) < 0.5,
        np.full(30, 2),
    )
    cameras, tracklets = rng.integers(-1, 3, size=80), rng.integers(-1, 12, size=80)
    cameras[labels == 2] = 1
    evidence = Evidence(cameras, tracklets=tracklets, ignored=rng.random(80) < 0.1, links=links)
    table = cluster_table(features, labels, evidence, num_nearest=3)
    numbers = sorted(set(labels.tolist()) - {-1})
    assert sorted(table.labels.tolist()) == numbers and (np.diff(table.badness) <= 0).all()
    centers = {one: unit(features[labels == one].mean(0)) for one in numbers}
    of_unit = np.where(tracklets >= 0, tracklets, 100 + np.arange(80))
    told = {one: np.flatnonzero((labels == one) & (cameras >= 0)) for one in numbers}
    units = {one: set(zip(cameras[own], of_unit[own])) for one, own in told.items()}
    drawn = np.array([camera for own in units.values() for camera, _ in own])
    shares = np.bincount(drawn) / len(drawn)
    for row, label in enumerate(table.labels.tolist()):
        own = np.flatnonzero(labels == label)
        assert table.sizes[row] == len(own)
        cosines = features[own] @ centers[label]
        assert table.spread[row] == pytest.approx(np.mean(1 - cosines), abs=1e-5)
        known = set(cameras[own].tolist()) - {-1}
        assert table.num_cameras[row] == len(known)
        num = len(units[label])
        expected = 1 - (shares**num).sum() if len(known) == 1 and num > 1 else 0
        assert table.one_camera[row] == pytest.approx(expected, abs=1e-6)
        wrong = 0
        for first, second, must in zip(links.first, links.second, links.must):
            inside = [labels[first] == label, labels[second] == label]
            if not evidence.ignored[[first, second]].any():
                wrong += all(inside) if not must else sum(inside) % 2
        assert table.violated[row] == wrong
        near = sorted(
            ((float(centers[label] @ centers[o]), o) for o in numbers if o != label), reverse=True
        )[:3]
        assert table.nearest[row].tolist() == [other for _, other in near]
        assert table.nearest_similarity[row] == pytest.approx(
            [cosine for cosine, _ in near], abs=1e-5
        )
        cover = table.cover[row]
        assert set(cover) <= set(own.tolist()) and len(set(cover.tolist())) == min(6, len(own))
        assert (
            cosines[own == cover[0]] == cosines.max() and cosines[own == cover[-1]] == cosines.min()
        )


def test_two_modes_are_two_looks_and_not_scatter():
    rng = np.random.default_rng(0)
    one, other = np.eye(64)[:2]
    noise = 0.01 * rng.standard_normal((10, 64))
    two = unit(np.concatenate([np.tile(one, (6, 1)), np.tile(other, (4, 1))]) + noise)
    scattered = unit(np.eye(64)[10:20])
    parted = unit(np.concatenate([np.eye(64)[20:26] + 3 * one, np.eye(64)[30:34] + 3 * other]))
    intruder = unit(np.concatenate([np.tile(one, (9, 1)), other[None]]) + noise)
    pair = unit(np.eye(64)[40:42])
    same = np.tile(one, (5, 1)).astype(np.float32)
    parts = [two, scattered, parted, intruder, pair, same]
    labels = np.repeat(np.arange(6), [len(part) for part in parts])
    table = cluster_table(np.concatenate(parts), labels, Evidence.unknown(len(labels)))
    order = np.argsort(table.labels)
    modes, sizes = table.modes[order], table.mode_sizes[order]
    assert modes[0] > 0.98 and sizes[0].tolist() == [6, 4]
    assert modes[1] == pytest.approx(0, abs=1e-5)
    # n rows that are equally far explain 1/(n-1) by chance: the two looks are what lies beyond.
    rows = parted.astype(np.float64)
    total = ((rows - rows.mean(0)) ** 2).sum()
    within = sum(((part - part.mean(0)) ** 2).sum() for part in (rows[:6], rows[6:]))
    assert modes[2] == pytest.approx(((1 - within / total) - 1 / 9) / (1 - 1 / 9), abs=1e-4)
    assert modes[3] > 0.9 and sizes[3].tolist() == [9, 1]
    assert modes[4] == modes[5] == 0
    words = {label: table.reasons[row] for row, label in enumerate(table.labels.tolist())}
    assert words[0] == ["perhaps two subjects, of 6 and 4 images"]
    assert words[3] == ["one image unlike the other 9"] and words[5] == []


def test_a_violated_link_goes_before_every_sign():
    features, truth = people(120, 8, noise=0.15, seed=1)
    good = int(np.bincount(truth).argmin())
    pair = np.flatnonzero(truth == good)[:2]
    links = Links(pair[:1], pair[1:], np.zeros(1, bool), np.full(1, 2))
    table = cluster_table(features, truth, Evidence(np.zeros(120), links=links))
    assert table.labels[0] == good and table.badness[0] > 1.5 and table.badness[1:].max() < 1
    assert table.reasons[0][0] == "1 link is not obeyed yet"


def test_few_clusters_and_none():
    features, _ = people(9)
    for labels in (np.full(9, -1), np.zeros(9, int), np.array([0, -1, -1, 1, -1, -1, -1, -1, -1])):
        table = cluster_table(features, labels, Evidence.unknown(9))
        assert len(table) == labels.max() + 1 and table.nearest.shape[0] == len(table)
        assert np.isfinite(table.badness).all()


def test_the_table_follows_labels_and_the_file(tmp_path):
    review = make_review(tmp_path, noise=0.1)
    table = review.clusters()
    assert review.clusters() is table and table.violated.sum() == 0
    images, similarity = review.members(int(table.labels[0]))
    assert (np.diff(similarity) <= 0).all() and len(images) == table.sizes[0]
    review.merge(table.labels[:2].tolist())
    assert set(table.labels[:2]) <= set(review.clusters().labels[review.clusters().violated > 0])
    review.recluster()
    assert review.clusters().violated.sum() == 0 and len(review.clusters()) == len(table) - 1
    assert np.array_equal(review.members(-1)[0], np.flatnonzero(review.labels < 0))
