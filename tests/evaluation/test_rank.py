"""The ranking measures equal plain Python loops, on every awkward case of the protocol."""

import numpy as np
import pytest
import torch

from mmreid_uda.evaluation.functional import RankResult, distance_blocks, evaluate_rank
from mmreid_uda.evaluation.functional import match_ranks as match_ranks_module
from mmreid_uda.evaluation.functional import rank as rank_module
from mmreid_uda.utils import InputError

pytestmark = pytest.mark.usefixtures("engine")

# A hand-checked example: query of identity 5, camera 0, and its gallery as (pid, camera, distance).
GALLERY = [
    (5, 0, 0.10),
    (0, 2, 0.15),
    (5, 1, 0.20),
    (7, 1, 0.25),
    (-1, 3, 0.28),
    (5, 2, 0.30),
    (0, 0, 0.35),
    (9, 2, 0.40),
    (5, 3, 0.50),
]


def example(gallery: list[tuple[int, int, float]] = GALLERY, **options: object) -> RankResult:
    pids, cameras, distances = (np.array(column) for column in zip(*gallery))
    matrix = np.stack([distances, distances])
    # The second query (identity 7, camera 1) has no match but in its own camera.
    return evaluate_rank(None, None, [5, 7], pids, [0, 1], cameras, distances=matrix, **options)


def naive_ranking(distances: np.ndarray, keep: np.ndarray, is_match: np.ndarray) -> list[bool]:
    """Relevance of the kept gallery images in the order of a stable sort."""
    order = sorted(range(len(distances)), key=lambda g: distances[g])
    return [bool(is_match[g]) for g in order if keep[g]]


def naive_evaluate(
    distances: np.ndarray,
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    query_camids: np.ndarray,
    gallery_camids: np.ndarray,
    max_rank: int = 50,
    rule: str = "precision",
) -> tuple[list[float], list[float], list[float], int]:
    """Average precision, CMC, inverse penalty per valid query, by loops; and the number of valid queries."""
    precisions, penalties, cmc = [], [], [0.0] * max_rank
    for q, (pid, camera) in enumerate(zip(query_pids, query_camids)):
        same_identity = gallery_pids == pid
        keep = (gallery_pids != -1) & ~(same_identity & (gallery_camids == camera))
        relevance = naive_ranking(distances[q], keep, same_identity)
        if not any(relevance):
            continue
        found, terms = 0, []
        for place, hit in enumerate(relevance):
            if not hit:
                continue
            before = found / place if place else 1.0
            found += 1
            precision = found / (place + 1)
            terms.append(precision if rule == "precision" else (precision + before) / 2)
            last = place + 1
        precisions.append(sum(terms) / found)
        penalties.append(found / last)
        first = relevance.index(True)
        for rank in range(first, max_rank):
            cmc[rank] += 1
    return precisions, cmc, penalties, len(precisions)


def random_problem(seed: int, levels: int | None) -> tuple[np.ndarray, ...]:
    """Distances with junk, distractors, queries without match, and (with ``levels``) many ties."""
    rng = np.random.default_rng(seed)
    query_pids = rng.integers(1, 12, 60)
    gallery_pids = rng.integers(
        -1, 10, 300
    )  # 10 and 11 are in no gallery, -1 is junk, 0 a distractor
    query_camids, gallery_camids = rng.integers(0, 3, 60), rng.integers(0, 3, 300)
    gallery_camids[gallery_pids == 9] = 2  # identity 9 is seen by camera 2 alone
    distances = rng.random((60, 300)).astype(np.float32)
    if levels:
        distances = np.floor(distances * levels) / np.float32(levels)
    return distances, query_pids, gallery_pids, query_camids, gallery_camids


@pytest.mark.slow
def test_published_example() -> None:
    result = example()
    assert result.mAP == pytest.approx(0.476190, abs=1e-6)
    assert result.cmc[:2].tolist() == [0, 1]
    assert result.mINP == pytest.approx(3 / 7)
    assert (result.num_queries, result.num_valid) == (2, 1)
    assert np.isnan(result.ap).tolist() == [False, True]


def test_published_example_with_the_wrong_rules_gives_the_published_wrong_numbers() -> None:
    junk_kept = [(pid if pid != -1 else 99, camera, distance) for pid, camera, distance in GALLERY]
    assert example(junk_kept).mAP == pytest.approx(0.425, abs=1e-6)
    distractors_dropped = [image for image in GALLERY if image[0] != 0]
    result = example(distractors_dropped)
    assert result.mAP == pytest.approx(0.755556, abs=1e-6)
    assert result.cmc[0] == 1


def test_trapezoid_example_divides_by_all_queries() -> None:
    result = example(ap="trapezoid")
    assert result.ap[0] == pytest.approx(0.349206, abs=1e-6)
    assert result.mAP == pytest.approx(0.349206 / 2, abs=1e-6)
    assert result.cmc[1] == 0.5


@pytest.mark.parametrize("levels", [None, 100, 7, 2, 1])
@pytest.mark.parametrize("rule", ["precision", "trapezoid"])
@pytest.mark.parametrize("rank_entries", [1, 1000, 2**21])
def test_equals_loops_with_ties_junk_distractors_and_missing_matches(
    levels: int | None, rule: str, rank_entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match_ranks_module, "_RANK_ENTRIES", rank_entries)
    distances, *labels = random_problem(3, levels)
    untouched = distances.copy()
    precisions, cmc, penalties, num_valid = naive_evaluate(
        distances, *labels, max_rank=20, rule=rule
    )
    result = evaluate_rank(None, None, *labels, distances=distances, max_rank=20, ap=rule)
    divisor = 60 if rule == "trapezoid" else num_valid
    assert 0 < num_valid < 60
    assert result.num_valid == num_valid
    assert result.ap[~np.isnan(result.ap)] == pytest.approx(precisions, abs=1e-12)
    assert result.mAP == pytest.approx(sum(precisions) / divisor, abs=1e-12)
    assert result.mINP == pytest.approx(sum(penalties) / divisor, abs=1e-12)
    assert result.cmc == pytest.approx(np.array(cmc) / divisor, abs=1e-12)
    assert np.array_equal(distances, untouched)


@pytest.mark.parametrize("levels", [None, 50, 1])
@pytest.mark.parametrize("num_ids", [3, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_loops_for_few_and_many_matches_in_a_long_gallery(
    levels: int | None, num_ids: int, dtype: type
) -> None:
    """Some thousand images: several chunks of compared entries, and matches by the dozen and by the thousand."""
    rng = np.random.default_rng(7)
    query_pids, gallery_pids = rng.integers(0, num_ids, 12), rng.integers(-1, num_ids, 5000)
    cameras = rng.integers(0, 3, 12), rng.integers(0, 3, 5000)
    distances = rng.random((12, 5000)).astype(dtype)
    if levels:
        distances = np.floor(distances * levels)
    expected, cmc, penalties, _ = naive_evaluate(distances, query_pids, gallery_pids, *cameras)
    result = evaluate_rank(None, None, query_pids, gallery_pids, *cameras, distances=distances)
    assert result.ap == pytest.approx(expected, abs=1e-12)
    assert result.mINP == pytest.approx(np.mean(penalties), abs=1e-12)
    assert result.cmc == pytest.approx(np.array(cmc) / 12, abs=1e-12)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("num_ids", [2, 100])
def test_a_single_broken_distance_is_found(broken: float, num_ids: int) -> None:
    labels = np.arange(3) % num_ids, np.arange(2500) % num_ids, np.zeros(3), np.ones(2500)
    distances = np.random.default_rng(8).random((3, 2500))
    distances[2, 2400] = broken
    with pytest.raises(InputError, match=r"queries 0\.\.2 hold NaN or inf"):
        evaluate_rank(None, None, *labels, distances=distances)


def test_distances_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(9)
    query, gallery = rng.normal(size=(70, 64)), rng.normal(size=(3000, 64))
    alone = torch.cat([block for _, block in distance_blocks(query, gallery)])
    torch.set_num_threads(3)
    try:
        together = torch.cat([block for _, block in distance_blocks(query, gallery)])
    finally:
        torch.set_num_threads(1)
    assert torch.equal(alone, together)


def test_blocks_may_share_their_memory() -> None:
    rng = np.random.default_rng(10)
    query, gallery = rng.normal(size=(10, 4)), rng.normal(size=(6, 4))
    whole = distance_blocks(query, gallery, block_size=4)
    shared = distance_blocks(query, gallery, block_size=4, reuse_memory=True)
    addresses = []
    for (_, block), (_, same) in zip(whole, shared, strict=True):
        assert torch.equal(block, same)
        addresses.append(same.data_ptr())
    assert len(set(addresses)) == 1


def test_budget_sets_the_block_size_or_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    query, gallery = rng.normal(size=(50, 4)), rng.normal(size=(400, 4))
    labels = (
        rng.integers(0, 9, 50),
        rng.integers(0, 9, 400),
        rng.integers(0, 3, 50),
        rng.integers(0, 3, 400),
    )
    monkeypatch.setattr(rank_module, "SCRATCH", 0)
    sizes = []
    blocks = rank_module.distance_blocks

    def spy(*features: object, block_size: int, **options: object) -> object:
        sizes.append(block_size)
        return blocks(*features, block_size=block_size, **options)

    monkeypatch.setattr(rank_module, "distance_blocks", spy)
    plain = evaluate_rank(query, gallery, *labels)
    small = evaluate_rank(query, gallery, *labels, max_memory="64KiB")
    assert sizes[0] == 512 and 1 < sizes[1] < 32
    assert small.mAP == pytest.approx(plain.mAP, abs=1e-12)
    with pytest.raises(
        InputError, match="max_memory='1KiB' allows 0 MiB, but the evaluation needs"
    ):
        evaluate_rank(query, gallery, *labels, max_memory="1KiB")


def test_ties_stand_in_gallery_order() -> None:
    def at(position: int) -> float:
        pids = np.full(5, 2)
        pids[position] = 1
        return evaluate_rank(None, None, [1], pids, [0], np.ones(5), distances=np.zeros((1, 5))).mAP

    assert [at(position) for position in range(5)] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])


def test_features_are_ranked_in_blocks_and_normalized() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(40, 8)), rng.normal(size=(90, 8))
    labels = (
        rng.integers(0, 5, 40),
        rng.integers(0, 5, 90),
        rng.integers(0, 4, 40),
        rng.integers(0, 4, 90),
    )
    unit_query = query / np.linalg.norm(query, axis=1, keepdims=True)
    unit_gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    expected = naive_evaluate(-unit_query @ unit_gallery.T, *labels)[0]
    for block_size in (7, 40, None):
        result = evaluate_rank(torch.from_numpy(query), gallery, *labels, block_size=block_size)
        assert result.ap[~np.isnan(result.ap)] == pytest.approx(expected, abs=1e-9)
    plain = naive_evaluate(np.linalg.norm(query[:, None] - gallery[None], axis=2), *labels)[0]
    result = evaluate_rank(query, gallery, *labels, normalize=False)
    assert result.ap[~np.isnan(result.ap)] == pytest.approx(plain, abs=1e-9)
    assert not np.allclose(plain, expected)


def test_distance_blocks_are_squared_euclidean() -> None:
    rng = np.random.default_rng(1)
    query, gallery = rng.normal(size=(11, 5)), rng.normal(size=(6, 5))
    expected = ((query[:, None] - gallery[None]) ** 2).sum(2)
    starts, blocks = zip(*distance_blocks(query, gallery, normalize=False, block_size=4))
    assert starts == (0, 4, 8)
    assert torch.cat(blocks).numpy() == pytest.approx(expected, abs=1e-5)


def test_identities_may_be_strings() -> None:
    distances, query_pids, gallery_pids, *cameras = random_problem(5, None)
    gallery_pids[gallery_pids == -1] = 0
    as_numbers = evaluate_rank(None, None, query_pids, gallery_pids, *cameras, distances=distances)
    names = [np.array([f"person {pid}" for pid in pids]) for pids in (query_pids, gallery_pids)]
    as_names = evaluate_rank(None, None, *names, *cameras, distances=distances)
    assert as_names.mAP == as_numbers.mAP


def test_keep_drops_only_the_image_itself() -> None:
    distances = np.array([[0.0, 0.3, 0.2, 0.4]])
    labels = [1], [1, 1, 2, 1], [0], [0, 0, 0, 0]
    result = evaluate_rank(
        None,
        None,
        *labels,
        distances=distances,
        same_camera="keep",
        query_ids=[7],
        gallery_ids=[7, 8, 9, 10],
    )
    assert result.mAP == pytest.approx((1 / 2 + 2 / 3) / 2)
    without_ids = evaluate_rank(None, None, *labels, distances=distances, same_camera="keep")
    assert without_ids.mAP == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


@pytest.mark.parametrize("missing", [np.nan, None, "", "NULL"])
def test_an_unknown_identity_is_nobody(missing: object) -> None:
    # Numbers among texts are compared as texts.
    query, gallery = [1, missing, 2], ["1", missing, 2, missing]
    cameras = [0, 0, 0], [1, 1, 1, 1]
    distances = np.array([[2.0, 1, 3, 1], [1, 2, 3, 4], [3, 1, 2, 1]])
    result = evaluate_rank(None, None, query, gallery, *cameras, distances=distances)
    # Both known people come first once the unknown images are left out.
    assert (result.num_valid, result.mAP) == (2, 1.0) and np.isnan(result.ap[1])


@pytest.mark.parametrize("missing", [-1, np.nan])
def test_an_unknown_camera_is_that_of_no_other_image(missing: float, engine: str) -> None:
    distances, query_pids, gallery_pids, query_camids, gallery_camids = random_problem(3, None)
    rng = np.random.default_rng(0)
    unknown = rng.random(60) < 0.4, rng.random(300) < 0.4
    given = [
        np.where(part, missing, cams) for part, cams in zip(unknown, (query_camids, gallery_camids))
    ]
    apart = (
        np.where(unknown[0], 100 + np.arange(60), query_camids),
        np.where(unknown[1], 1000 + np.arange(300), gallery_camids),
    )
    people = query_pids, gallery_pids
    result = evaluate_rank(None, None, *people, *given, distances=distances)
    precisions, _, penalties, _ = naive_evaluate(distances, *people, *apart)
    assert result.mAP == pytest.approx(np.mean(precisions), abs=1e-9)
    assert result.mINP == pytest.approx(np.mean(penalties), abs=1e-9)
    # The image itself is told by its number, where it is in both sets.
    ids = np.arange(60), np.r_[np.arange(60), np.full(240, -5)]
    own = gallery_pids.copy()
    own[:60] = query_pids
    cameras = apart[0], np.r_[apart[0], apart[1][60:]]
    given = given[0], np.r_[given[0], given[1][60:]]
    result = evaluate_rank(
        None,
        None,
        query_pids,
        own,
        *given,
        distances=distances,
        query_ids=ids[0],
        gallery_ids=ids[1],
    )
    precisions, *_ = naive_evaluate(distances, query_pids, own, *cameras)
    assert result.mAP == pytest.approx(np.mean(precisions), abs=1e-9)


def test_single_shot_cmc_equals_the_average_over_all_galleries() -> None:
    """One match image in another camera, and every possible gallery known: the drawn mean comes near the true one."""
    rng = np.random.default_rng(2)
    num_queries, per_identity = 400, 3
    gallery_pids = np.repeat(np.arange(4), 2 * per_identity)
    gallery_camids = np.tile(np.repeat([0, 1], per_identity), 4)
    query_pids, query_camids = rng.integers(0, 4, num_queries), rng.integers(0, 2, num_queries)
    distances = rng.random((num_queries, len(gallery_pids)))
    labels = query_pids, gallery_pids, query_camids, gallery_camids
    result = evaluate_rank(None, None, *labels, distances=distances, protocol="cuhk03", max_rank=4)

    expected = np.zeros(4)
    for q in range(num_queries):
        other = gallery_camids != query_camids[q]
        shots = [distances[q, other & (gallery_pids == pid)] for pid in range(4)]
        for choice in np.ndindex(*[per_identity] * 4):
            drawn = np.array([shots[pid][shot] for pid, shot in enumerate(choice)])
            expected[(drawn < drawn[query_pids[q]]).sum() :] += 1 / per_identity**4
    assert result.cmc == pytest.approx(expected / num_queries, abs=0.03)
    assert result.cmc[3] == pytest.approx(1)
    market = evaluate_rank(None, None, *labels, distances=distances)
    assert (result.mAP, result.mINP) == (market.mAP, market.mINP)


def test_single_shot_draws_follow_the_seed_and_ignore_the_block_size() -> None:
    rng = np.random.default_rng(4)
    query, gallery = rng.normal(size=(50, 4)), rng.normal(size=(200, 4))
    labels = (
        rng.integers(0, 9, 50),
        rng.integers(0, 9, 200),
        rng.integers(0, 3, 50),
        rng.integers(0, 3, 200),
    )

    def cmc(**options: int) -> list[float]:
        return evaluate_rank(query, gallery, *labels, protocol="cuhk03", **options).cmc.tolist()

    assert cmc() == pytest.approx(cmc(block_size=3))
    assert cmc() != cmc(seed=1)


def test_single_shot_is_exact_if_there_is_only_one_shot() -> None:
    """With one image per identity and camera nothing is left to chance, ties included."""
    rng = np.random.default_rng(6)
    pids, cameras = np.repeat(np.arange(30), 2), np.tile([0, 1], 30)
    distances = np.floor(rng.random((60, 60)) * 5)
    result = evaluate_rank(
        None,
        None,
        pids,
        pids,
        cameras,
        cameras,
        distances=distances,
        protocol="cuhk03",
        max_rank=30,
    )
    expected = np.zeros(30)
    for q in range(60):
        relevance = naive_ranking(distances[q], cameras != cameras[q], pids == pids[q])
        expected[relevance.index(True) :] += 1 / 60
    assert result.cmc == pytest.approx(expected)


def test_summary_is_in_percent() -> None:
    assert example().summary() == pytest.approx(
        {"mAP": 47.6190, "R1": 0, "R5": 100, "R10": 100, "mINP": 42.8571}, abs=1e-4
    )
    assert "R10" not in example(max_rank=5).summary()


def test_no_match_says_what_was_found() -> None:
    one_camera = np.zeros(3)
    with pytest.raises(
        InputError,
        match=r"3 queries .* 3 gallery images \(2 shared identities, 1 cameras\).*'keep'",
    ):
        evaluate_rank(
            None, None, [1, 2, 3], [1, 2, 2], one_camera, one_camera, distances=np.zeros((3, 3))
        )
    with pytest.raises(InputError, match="0 shared identities"):
        evaluate_rank(None, None, [1, 2], [-1, -1], [0, 0], [1, 1], distances=np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"same_camera": "drop"}, "'remove' or 'keep'"),
        ({"ap": "mean"}, "'precision' or 'trapezoid'"),
        ({"protocol": "cuhk03", "same_camera": "keep"}, "ignores cameras: use protocol='market'"),
        ({"max_rank": 0}, "max_rank=0 .* at least 1"),
        ({"query_pids": None}, r"query_pids has shape \(\)"),
        ({"gallery_pids": [[1, 2, 3]]}, r"gallery_pids has shape \(1, 3\)"),
        ({"gallery_camids": [0, 1]}, "gallery_camids has shape"),
        ({"gallery_features": np.full((3, 2), np.nan)}, "3 rows with NaN"),
        ({"query_features": np.eye(2)[[0, 0]] * [[1], [0]]}, "1 row of zeros"),
        ({"gallery_features": np.ones((3, 4))}, "2 dimensions and a gallery of 4"),
        ({"gallery_features": np.ones((2, 2))}, "3 gallery images"),
        ({"query_features": np.ones((1, 2))}, "distances of 1 queries"),
        ({"distances": np.full((2, 3), np.nan)}, "hold NaN"),
        ({"query_features": None}, "or distances"),
    ],
)
def test_wrong_input_is_explained(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "query_features": np.ones((2, 2)),
        "gallery_features": np.ones((3, 2)),
        "query_pids": [1, 2],
        "gallery_pids": [1, 2, 3],
        "query_camids": [0, 0],
        "gallery_camids": [1, 1, 1],
    }
    with pytest.raises(InputError, match=message):
        evaluate_rank(**{**arguments, **change})
