"""The ROC of all pairs equals one made from the list of all pairs."""

import inspect
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mmreid_uda.evaluation.functional import FALSE_POSITIVE_RATES, RankResult, evaluate_rank
from mmreid_uda.evaluation.functional import roc as roc_module
from mmreid_uda.evaluation.functional.protocol import Protocol
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.usefixtures("engine")


def problem(seed: int, levels: int | None = None) -> tuple[np.ndarray, ...]:
    """Distances that tell people apart a little, with junk and distractors."""
    rng = np.random.default_rng(seed)
    query_pids, gallery_pids = rng.integers(0, 12, 40), rng.integers(-1, 14, 350)
    query_camids, gallery_camids = rng.integers(0, 3, 40), rng.integers(0, 3, 350)
    same = query_pids[:, None] == gallery_pids
    distances = rng.gamma(4, 0.25, (40, 350)) + 0.9 * ~same
    if levels:
        distances = np.floor(distances * levels) / levels
    return distances.astype(np.float32), query_pids, gallery_pids, query_camids, gallery_camids


def listed_pairs(distances: np.ndarray, *labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the positive and the negative pairs, as a counter of 18 binary digits sees them."""
    query_pids, gallery_pids, query_camids, gallery_camids = labels
    cut = (distances.view(np.int32) >> 5 << 5).view(np.float32)
    same = query_pids[:, None] == gallery_pids
    positive = same & (query_camids[:, None] != gallery_camids)
    return cut[positive], cut[~same & (gallery_pids != -1)]


def slow_metrics(positives: np.ndarray, negatives: np.ndarray) -> tuple[list[float], float]:
    """True positive rates and equal error rate, threshold by threshold."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([positives, negatives])):
        points.append(((negatives <= threshold).mean(), (positives <= threshold).mean()))
    rates = [
        max(tpr for fpr, tpr in points if fpr <= allowed + 1e-12)
        for allowed in FALSE_POSITIVE_RATES
    ]
    for (fpr0, tpr0), (fpr1, tpr1) in pairwise(points):
        before, after = fpr0 - (1 - tpr0), fpr1 - (1 - tpr1)
        if before < 0 <= after:
            return rates, fpr0 + (fpr1 - fpr0) * -before / (after - before)
    raise AssertionError


def evaluate(distances: np.ndarray, *labels: np.ndarray) -> RankResult:
    return evaluate_rank(None, None, *labels, distances=distances, verification=True)


@pytest.mark.parametrize(("seed", "levels"), [(0, None), (1, None), (2, 40), (3, 3)])
def test_equals_the_list_of_all_pairs(seed: int, levels: int | None) -> None:
    distances, *labels = problem(seed, levels)
    found = evaluate(distances, *labels).verification
    positives, negatives = listed_pairs(distances, *labels)
    assert (found.num_positives, found.num_negatives) == (len(positives), len(negatives))
    rates, equal_error_rate = slow_metrics(positives, negatives)
    assert found.tpr == pytest.approx(rates, abs=1e-12)
    assert found.eer == pytest.approx(equal_error_rate, abs=1e-12)
    is_positive = np.repeat([1, 0], [len(positives), len(negatives)])
    scores = -np.concatenate([positives, negatives])
    assert found.auc == pytest.approx(roc_auc_score(is_positive, scores), abs=1e-12)
    assert 0.5 < found.auc < 1 and 0 < found.eer < 0.5


def test_counts_of_several_counters_are_read_as_those_of_one() -> None:
    distances, *labels = problem(5, 40)
    rules = Protocol(*labels, "remove", None, None)
    counters = [roc_module.PairCounter(rules) for _ in range(3)]
    for number, start in enumerate(range(0, 40, 7)):
        block = rules.without_junk(torch.from_numpy(distances[start : start + 7]))
        counters[number % 3].add(block, start)
    found = roc_module.read_counts([counter.counts() for counter in counters])
    assert found == evaluate(distances, *labels).verification


def test_blocks_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    distances, *labels = problem(4)
    whole = evaluate(distances, *labels).verification
    monkeypatch.setattr(roc_module, "num_threads", lambda: 3)
    monkeypatch.setattr(roc_module, "_ENTRIES", 1000)
    monkeypatch.setitem(inspect.unwrap(evaluate_rank).__globals__, "_ROWS", 9)
    assert evaluate(distances, *labels).verification == whole


def test_identical_and_extreme_distances_find_a_bin() -> None:
    distances = np.array([[0.0, 1e-30, 1e30, 5.0]], np.float32)
    result = evaluate(distances, [1], [1, 1, 2, 2], [0], [1, 1, 1, 1]).verification
    assert (result.auc, result.eer, result.tpr) == (1, 0, (1,) * 4)


def test_figures_are_reported_in_percent() -> None:
    distances, *labels = problem(5)
    result = evaluate(distances, *labels)
    summary = result.summary()
    assert summary["TPR@FPR=0.001"] == 100 * result.verification.tpr[2]
    assert summary["AUC"] == 100 * result.verification.auc
    assert list(summary)[-6:-2] == [f"TPR@FPR={rate:g}" for rate in FALSE_POSITIVE_RATES]
    plain = evaluate_rank(None, None, *labels, distances=distances)
    assert plain.verification is None and plain.summary().items() <= summary.items()


def test_wrong_distances_and_missing_negatives_are_explained() -> None:
    with pytest.raises(InputError, match="negative distances of queries 0"):
        evaluate(-np.ones((1, 2)), [1], [1, 2], [0], [1, 1])
    with pytest.raises(InputError, match="2 pairs of one person and 0 pairs of two"):
        evaluate(np.ones((1, 2)), [1], [1, 1], [0], [1, 1])
