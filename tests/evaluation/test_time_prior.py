"""The time prior: the released formulas, a slow implementation, and figures under names of their own."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from mmreid_uda.evaluation import ReIDMetric, TimePrior, evaluate_rank, joint_score
from mmreid_uda.evaluation.functional import distance_blocks
from mmreid_uda.evaluation.functional.time_prior import smoothed
from mmreid_uda.utils import InputError


def slow_density(labels, cameras, times, later, earlier, width, num_bins, deviation):
    """Smoothed histogram of one ordered pair of cameras, by loops over people and bins."""
    counts = [0.0] * num_bins
    for person in sorted(set(labels) - {-1}):
        seen = {
            camera: [
                t for label, c, t in zip(labels, cameras, times) if (label, c) == (person, camera)
            ]
            for camera in (later, earlier)
        }
        if all(seen.values()):
            gap = np.mean(seen[later]) - np.mean(seen[earlier])
            # At equal times the camera of the larger number counts as the later one.
            if (gap > 0 or (gap == 0 and later > earlier)) and gap / width < num_bins:
                counts[int(gap // width)] += 1
    total = sum(counts) + 1e-7
    result = []
    for u in range(num_bins):
        value = 0.0
        for v in range(num_bins):
            if abs(u - v) <= 3 * deviation:
                weight = math.exp(-((u - v) ** 2) / (2 * deviation**2))
                value += counts[v] / total * weight / (deviation * math.sqrt(2 * math.pi))
        result.append(value)
    return np.array(result) / (sum(result) + 1e-7)


def examples(rng, num=120):
    labels = rng.integers(-1, 12, num)
    cameras = rng.integers(-1, 4, num)
    times = rng.uniform(0, 300, num)
    times[rng.random(num) < 0.1] = np.nan
    return labels, cameras, times


def test_the_worked_examples_of_smoothing_and_score():
    counts = np.zeros(40)
    counts[[2, 3, 10]] = [2, 1, 1]
    density = smoothed(counts, 2)
    expected = [0.081741, 0.153226, 0.146980, 0.047502, 0.053157]
    assert density[[0, 2, 3, 9, 10]] == pytest.approx(expected, abs=1e-5)
    scores = joint_score(np.array([0.6, 0.6, 0.6, 0.4]), np.array([0, 0.01, 0.2, 0.2]))
    assert scores == pytest.approx([0.317525, 0.328196, 0.548794, 0.507442], abs=1e-5)


def test_densities_are_those_of_a_slow_implementation():
    labels, cameras, times = examples(np.random.default_rng(0))
    prior = TimePrior(labels, cameras, times, bin_seconds=7.0, num_bins=30, bandwidth=1.5)
    known = np.where(np.isnan(times), -1, labels), cameras, times
    for later, earlier in itertools.permutations(range(4), 2):
        expected = slow_density(*known, later, earlier, 7.0, 30, 1.5)
        gaps = np.arange(30) * 7.0 + 3
        found = prior.probability(
            np.array([later]), np.array([1000.0]), [earlier] * 30, 1000 - gaps
        )
        assert found[0] == pytest.approx(expected, abs=1e-9)


def test_what_is_unknown_or_was_never_seen_has_no_probability():
    labels, cameras = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    prior = TimePrior(labels, cameras, np.array([0.0, 10, 100, 114]), bandwidth=1, num_bins=20)
    # Ten and fourteen seconds are in the third and fourth of bins of four.
    there = prior.probability([1], [50.0], [0, 0, 0, 1, -1, 7], [40, 37, np.nan, 40, 40, 40])[0]
    assert (there[:2] > 0.1).all() and (there[2:] == 0).all()
    # The other way, and longer than the histogram.
    assert (prior.probability([0], [50.0], [1, 1], [40.0, -50]) == 0).all()
    assert prior.probability([1], [500.0], [0], [1.0]) == 0
    assert prior.num_journeys == 2


def test_of_equal_times_the_second_camera_and_the_gallery_count_as_later():
    prior = TimePrior(np.zeros(2, int), np.array(["a", "b"]), np.ones(2), 1.0, 8, 1.0)
    now, cameras = np.ones(2), np.array(["a", "b"])
    found = prior.probability(cameras, now, cameras, now)
    assert found[0, 1] > 0.3 and found.sum() == found[0, 1]
    assert prior.probability(cameras[1:], now[1:] + 1, cameras[:1], now[:1]) > 0.2


def test_clocks_may_begin_anew():
    labels, cameras = np.array([0, 0]), np.array(["gate", "hall"])
    times = np.array([86400 * 3 + 8.0, 86400 * 5 + 20.0])
    prior = TimePrior(labels, cameras, times, period=86400, bandwidth=0.4)
    assert prior.probability(["hall"], [112.0], ["gate"], [100.0]) > 0.8
    with pytest.raises(InputError, match="no cluster with images of two cameras"):
        TimePrior(labels, cameras, times)  # two days are longer than the histogram


def test_a_prior_without_journeys_is_refused():
    one = np.zeros(3, np.int64)
    with pytest.raises(InputError, match="no cluster with images of two cameras at known times"):
        TimePrior(one, one, np.arange(3.0))
    with pytest.raises(InputError, match="up to 100 seconds apart among 4 images"):
        TimePrior(np.arange(4) // 2, np.arange(4) % 2, 101 * np.arange(4.0), 10.0, 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cameras", np.array(["a"])),
        ("labels", np.full(4, "a")),
        ("times", np.zeros((4, 1))),
        ("labels", np.array(0)),
    ],
)
def test_broken_labels_are_refused(tmp_path, name, value):
    arrays = dict(labels=np.arange(4) // 2, cameras=np.array(list("abab")), times=np.arange(4.0))
    np.savez(tmp_path / "labels.npz", **{**arrays, name: value})
    with pytest.raises(
        InputError,
        match=r"labels\.npz' gives no time prior \(.*, expected the pseudo-labels of a run",
    ):
        TimePrior.of_run(tmp_path / "labels.npz")


def make_run(folder, rng, **extra):
    """A run's labels: who leaves camera 0 comes to camera 1 after 20 seconds, 50 people."""
    begin = rng.uniform(0, 5000, 50)
    people = np.repeat(np.arange(50), 2)
    times = np.stack([begin, begin + rng.normal(20, 1, 50)], 1).reshape(-1)
    arrays = dict(
        labels=people,
        paths=np.array([f"{i}.jpg" for i in range(100)]),
        statistics=np.array(json.dumps({})),
        cameras=np.tile(["0", "1"], 50),
        times=times,
    )
    (folder / "pseudo_labels").mkdir(parents=True)
    for epoch in (1, 2):
        np.savez(folder / f"pseudo_labels/epoch_{epoch:03d}.npz", **{**arrays, **extra})
    return times


def test_figures_stand_beside_the_plain_ones_and_tell_people_apart_by_time(tmp_path):
    rng = np.random.default_rng(0)
    times = make_run(tmp_path / "run", rng)
    options = dict(labels=str(tmp_path / "run"), bin_seconds=2.0, bandwidth=2.0, num_bins=500)
    metric = ReIDMetric(time_prior=options)
    features = torch.from_numpy(rng.normal(size=(100, 8))).float()  # looks say nothing
    pids, cams = np.repeat(np.arange(50), 2), np.tile([0, 1], 50)
    metric.dataset_meta = dict(set_names=["own"], cameras=cams.astype(str), times=times)
    batch = dict(
        features=features,
        pid=torch.from_numpy(pids),
        camid=torch.from_numpy(cams),
        is_query=torch.from_numpy(cams == 1),
        set_id=torch.zeros(100, dtype=torch.long),
        sample_idx=torch.arange(100),
    )
    metric.process(None, [batch])
    figures = metric.evaluate(100)
    assert figures["own/time_mAP"] > 3 * figures["own/mAP"]
    # An independent evaluation: the score of every pair, one by one.
    prior = TimePrior(pids, cams, times, bin_seconds=2.0, bandwidth=2.0, num_bins=500)
    unit = torch.nn.functional.normalize(features, dim=1).double().numpy()
    query, gallery = np.flatnonzero(cams == 1), np.flatnonzero(cams == 0)
    matrix = np.empty((50, 50))
    for row, q in enumerate(query):
        for column, g in enumerate(gallery):
            p = prior.probability([1], times[[q]], [0], times[[g]]).item()
            s = float(unit[q] @ unit[g])
            matrix[row, column] = 1 - 1 / (1 + math.exp(-5 * s)) / (1 + 2 * math.exp(-5 * p))
    slow = evaluate_rank(
        None, None, pids[query], pids[gallery], cams[query], cams[gallery], distances=matrix
    )
    assert figures["own/time_mAP"] == pytest.approx(100 * slow.mAP, abs=1e-5)


def test_a_metric_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="without labels"):
        ReIDMetric(time_prior=dict(bin_seconds=2.0))
    with pytest.raises(InputError, match="no pseudo-labels in"):
        ReIDMetric(time_prior=dict(labels=str(tmp_path)))
    make_run(tmp_path / "run", np.random.default_rng(0))
    metric = ReIDMetric(time_prior=dict(labels=str(tmp_path / "run")))
    metric.dataset_meta = dict(set_names=["own"])
    batch = dict(
        features=torch.eye(4),
        pid=torch.tensor([0, 1, 0, 1]),
        camid=torch.tensor([0, 0, 1, 1]),
        is_query=torch.tensor([True, True, False, False]),
        set_id=torch.zeros(4, dtype=torch.long),
        sample_idx=torch.arange(4),
    )
    metric.process(None, [batch])
    with pytest.raises(InputError, match="no cameras of the images of own"):
        metric.evaluate(4)
    old = tmp_path / "old.npz"
    np.savez(old, labels=np.zeros(2), paths=np.array(["a", "b"]))
    with pytest.raises(InputError, match="gives no time prior"):
        TimePrior.of_run(old)


def test_cameras_must_be_those_of_the_labels(tmp_path):
    make_run(tmp_path / "run", np.random.default_rng(0))
    prior = TimePrior.of_run(tmp_path / "run" / "pseudo_labels" / "epoch_001.npz")
    rows = torch.eye(2)
    with pytest.raises(InputError, match="cameras gate in the queries and 0, 1 in the labels"):
        sides = np.array(["gate"] * 2), np.zeros(2), np.array(["0", "1"]), np.zeros(2)
        list(prior.distances(distance_blocks(rows, rows), *sides))
