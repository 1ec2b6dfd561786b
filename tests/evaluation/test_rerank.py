"""Sparse, streamed re-ranking equals the dense definition."""

import inspect

import numpy as np
import pytest
import torch

from mmreid_uda.evaluation.functional import evaluate_rank, rerank
from mmreid_uda.neighbors import CameraLists
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.usefixtures("engine")


def dense_rerank(
    query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, lambda_value: float
) -> np.ndarray:
    """The definition of the 'full' variant, word by word, on (Q+G)×(Q+G) matrices of float64."""
    images = np.concatenate([query, gallery]).astype(np.float64)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    num = len(images)
    distances = 2 - 2 * images @ images.T
    distances = (distances / distances.max(axis=0)).T
    ranks = []
    for i in range(num):
        others = [j for j in np.argsort(distances[i], kind="stable") if j != i]
        ranks.append([i, *others])

    def reciprocal(i: int, k: int) -> list[int]:
        return [j for j in ranks[i][: k + 1] if i in ranks[j][: k + 1]]

    encoding = np.zeros((num, num))
    for i in range(num):
        members = reciprocal(i, k1)
        expanded = list(members)
        for candidate in members:
            half = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(set(half) & set(members)) > 2 / 3 * len(half):
                expanded += half
        expanded = sorted(set(expanded))
        weights = np.exp(-distances[i, expanded])
        encoding[i, expanded] = weights / weights.sum()
    encoding = np.stack([np.mean([encoding[j] for j in ranks[i][:k2]], axis=0) for i in range(num)])

    final = np.zeros((len(query), len(gallery)))
    for q in range(len(query)):
        for g in range(len(gallery)):
            shared = np.minimum(encoding[q], encoding[len(query) + g]).sum()
            jaccard = max(1 - shared / (2 - shared), 0)
            final[q, g] = (1 - lambda_value) * jaccard + lambda_value * distances[q, len(query) + g]
    return final


def clustered(seed: int, num_queries: int, num_gallery: int) -> tuple[np.ndarray, ...]:
    """Features of overlapping identities, and the identities."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(12, 16))
    pids = rng.integers(0, 12, num_queries + num_gallery)
    features = (centers[pids] + 0.8 * rng.normal(size=(len(pids), 16))).astype(np.float32)
    return features[:num_queries], features[num_queries:], pids[:num_queries], pids[num_queries:]


def whole(*arguments: object, **options: object) -> np.ndarray:
    return torch.cat([block for _, block in rerank(*arguments, **options)]).numpy()


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"),
    [(20, 6, 0.3), (8, 3, 0.0), (7, 1, 0.5), (5, 2, 1.0), (500, 6, 0.3)],
)
def test_equals_the_dense_definition(k1: int, k2: int, lambda_value: float) -> None:
    query, gallery, *_ = clustered(0, 25, 65)
    expected = dense_rerank(query, gallery, k1, k2, lambda_value)
    assert np.abs(whole(query, gallery, k1, k2, lambda_value) - expected).max() < 1e-6


def dense_camera_rerank(
    query: np.ndarray, gallery: np.ndarray, cameras: list[int], lists: CameraLists, weight: float
) -> np.ndarray:
    """The definition with cameras, word by word, on (Q+G)×(Q+G) matrices of float64."""
    images = np.concatenate([query, gallery]).astype(np.float64)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    num = len(images)
    distances = 2 - 2 * images @ images.T
    distances = (distances / distances.max(axis=0)).T
    encoding, ranks = np.zeros((num, num)), {}
    for i in range(num):
        other = np.array([cameras[j] != cameras[i] for j in range(num)])
        shifted = distances[i] - (np.arange(num) == i)  # the image itself comes first
        ranks["intra", i] = np.argsort(shifted + 999 * other, kind="stable")
        ranks["inter", i] = np.argsort(shifted + 999 * ~other, kind="stable")
    for i in range(num):
        members = set()
        for kind, k in (("intra", lists.k1_intra + 1), ("inter", lists.k1_inter + 1)):
            members |= {j for j in ranks[kind, i][:k] if i in ranks[kind, j][:k]}
        members = sorted(members)
        weights = np.exp(-distances[i, members])
        encoding[i, members] = weights / weights.sum()
    averaged = np.zeros_like(encoding)
    for i in range(num):
        rows = [*ranks["intra", i][: lists.k2_intra], *ranks["inter", i][: lists.k2_inter]]
        averaged[i] = encoding[rows].mean(0)
    final = np.zeros((len(query), len(gallery)))
    for q in range(len(query)):
        for g in range(len(gallery)):
            shared = np.minimum(averaged[q], averaged[len(query) + g]).sum()
            jaccard = max(1 - shared / (2 - shared), 0)
            final[q, g] = (1 - weight) * jaccard + weight * distances[q, len(query) + g]
    return final


@pytest.mark.parametrize("k2", [1, 6])
def test_with_cameras_equals_the_dense_definition(k2: int) -> None:
    query, gallery, *_ = clustered(0, 25, 65)
    cameras = np.random.default_rng(0).choice(4, 90, p=[0.5, 0.3, 0.17, 0.03])
    lists = CameraLists(k1_intra=4, k1_inter=12)
    options = dict(query_cameras=cameras[:25], gallery_cameras=cameras[25:], camera_lists=lists)
    expected = dense_camera_rerank(query, gallery, cameras.tolist(), lists, 0.3)
    assert np.abs(whole(query, gallery, 20, k2, **options) - expected).max() < 1e-6


def test_cameras_of_one_side_alone_are_refused() -> None:
    query, gallery, *_ = clustered(3, 10, 20)
    with pytest.raises(InputError, match="cameras of the queries alone"):
        list(rerank(query, gallery, query_cameras=np.zeros(10, int)))


def test_published_jaccard_distances() -> None:
    """A hand-checked example, queries 0..2 against gallery 3..7."""
    angles = np.deg2rad([0, 7, 16, 40, 47, 58, 120, 131])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    expected = [
        [0.620764, 0.620764, 0.778905, 1, 1],
        [0.620764, 0.620764, 0.778905, 1, 1],
        [0.410476, 0.410476, 0.616907, 1, 1],
    ]
    assert whole(points[:3], points[3:], k1=4, k2=2, lambda_value=0) == pytest.approx(
        np.array(expected), abs=1e-5
    )


def test_blocks_follow_each_other_and_do_not_change_the_distances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    query, gallery, *_ = clustered(1, 33, 70)
    starts, blocks = zip(*rerank(query, gallery, block_size=10))
    assert starts == (0, 10, 20, 30)
    assert [tuple(block.shape) for block in blocks] == [(10, 70)] * 3 + [(3, 70)]
    monkeypatch.setitem(inspect.unwrap(rerank).__globals__, "_OVERLAP_ROWS", 7)
    assert whole(torch.from_numpy(query), gallery) == pytest.approx(
        torch.cat(blocks).numpy(), abs=1e-6
    )


def test_distances_go_into_the_evaluation_and_improve_it() -> None:
    query, gallery, query_pids, gallery_pids = clustered(2, 60, 200)
    labels = query_pids, gallery_pids, np.zeros(60), np.ones(200)
    plain = evaluate_rank(query, gallery, *labels)
    reranked = evaluate_rank(None, None, *labels, distances=rerank(query, gallery, 10, 4))
    from_matrix = evaluate_rank(None, None, *labels, distances=whole(query, gallery, 10, 4))
    assert reranked.mAP == from_matrix.mAP
    assert reranked.mAP > plain.mAP + 0.03


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"lambda_value": 1.1}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    query, gallery, *_ = clustered(3, 10, 20)
    with pytest.raises(InputError, match=next(iter(wrong))):
        list(rerank(query, gallery, **wrong))


def test_candidates_in_int8_give_the_same_distances() -> None:
    query, gallery, *_ = clustered(1, 60, 300)
    expected = whole(query, gallery, k1=10)
    assert whole(query, gallery, k1=10, precision="int8") == pytest.approx(expected, abs=1e-6)


def test_blocks_may_share_their_memory() -> None:
    query, gallery, *_ = clustered(4, 20, 40)
    expected = whole(query, gallery, block_size=7)
    shared = rerank(query, gallery, block_size=7, reuse_memory=True)
    parts, addresses = zip(*((block.numpy().copy(), block.data_ptr()) for _, block in shared))
    assert np.array_equal(np.concatenate(parts), expected)
    assert len(set(addresses)) == 1


def test_features_are_normalized_and_left_as_they_are() -> None:
    query, gallery, *_ = clustered(5, 20, 40)
    longer, untouched = 3 * query, 3 * query
    assert whole(longer, gallery) == pytest.approx(whole(query, gallery), abs=1e-6)
    assert np.array_equal(longer, untouched)


def test_budget_sets_the_block_size_or_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    query, gallery, *_ = clustered(6, 20, 300)
    with pytest.raises(
        InputError, match="max_memory='10KiB' allows 0 MiB, but the re-ranking needs"
    ):
        next(rerank(query, gallery, max_memory="10KiB"))
    asked = []

    def rows_within(max_memory: str, num_columns: int, **needs: object) -> int:
        asked.append((max_memory, num_columns))
        return 3

    monkeypatch.setitem(inspect.unwrap(rerank).__globals__, "rows_within", rows_within)
    sizes = [len(block) for _, block in rerank(query, gallery, max_memory="64MiB")]
    assert sizes == [3] * 6 + [2]
    assert (
        asked == [("64MiB", 300)] * 2
    )  # before the search, and again when the encodings are known
