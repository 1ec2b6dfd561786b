"""Query expansion equals its formula, written as loops."""

import numpy as np
import pytest
import torch

from mmreid_uda.evaluation import evaluate_rank, expand_queries
from mmreid_uda.utils import InputError


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_expansion(rows: np.ndarray, gallery: np.ndarray, k: int, alpha: float) -> np.ndarray:
    """One row after the other; rows that are the gallery leave themselves out."""
    expanded = []
    for number, row in enumerate(rows):
        cosines = gallery @ row
        order = [g for g in np.argsort(-cosines) if rows is not gallery or g != number]
        total = row.copy()
        for g in order[:k]:
            total += max(cosines[g], 0) ** alpha * gallery[g]
        expanded.append(total / np.linalg.norm(total))
    return np.array(expanded)


@pytest.fixture
def features() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(23, 6)), rng.normal(size=(31, 6))


@pytest.mark.parametrize(("k", "alpha"), [(1, 0), (5, 0), (5, 3), (4, 0.5), (100, 2)])
@pytest.mark.parametrize("database_side", [False, True])
@pytest.mark.parametrize("block_size", [7, None])
def test_equals_loops(features, k, alpha, database_side, block_size):
    query, gallery = map(unit, features)
    if database_side:
        gallery = slow_expansion(gallery, gallery, k, alpha)
    expected = slow_expansion(query, gallery, k, alpha)
    found = expand_queries(*features, k, alpha, database_side=database_side, block_size=block_size)
    assert found[0].numpy() == pytest.approx(expected, abs=1e-5)
    assert found[1].numpy() == pytest.approx(gallery, abs=1e-5)


def test_given_features_stay_as_they_are(features):
    query, gallery = (torch.from_numpy(part).float() for part in features)
    before = query.clone(), gallery.clone()
    expand_queries(query, gallery, 3, database_side=True)
    assert torch.equal(query, before[0]) and torch.equal(gallery, before[1])


def test_helps_where_matches_stand_together():
    rng = np.random.default_rng(1)
    pids = rng.integers(0, 10, 400)
    rows = rng.normal(size=(10, 32))[pids] + 1.2 * rng.normal(size=(400, 32))
    labels = pids[:80], pids[80:], np.zeros(80), np.ones(320)
    plain = evaluate_rank(rows[:80], rows[80:], *labels).mAP
    expanded = expand_queries(rows[:80], rows[80:], k=8, alpha=1)
    both = expand_queries(rows[:80], rows[80:], k=8, alpha=1, database_side=True)
    assert plain + 0.02 < evaluate_rank(*expanded, *labels).mAP < evaluate_rank(*both, *labels).mAP


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": 0}, "found k=0"),
        ({"alpha": -1.0}, r"alpha=-1\.0"),
        ({"max_memory": "1kB"}, "the query expansion needs at least"),
    ],
)
def test_wrong_parameters_are_explained(features, wrong, message):
    with pytest.raises(InputError, match=message):
        expand_queries(*features, **wrong)
