"""Neighbours of another engine are candidates: checked when they are read, and ranked by the features."""

import tracemalloc

import numpy as np
import pytest

from mmreid_uda.clustering import EvidenceClustering, JaccardDBSCAN
from mmreid_uda.neighbors import (
    approximate,
    features_sample,
    find_camera_neighbors,
    find_neighbors,
    find_neighbors_in_file,
    read_neighbors,
    unit_rows,
    write_neighbors,
)
from mmreid_uda.neighbors.neighbor_file import LONGEST, open_neighbors
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError, kernels_available

RNG = np.random.default_rng(0)
CENTERS = RNG.standard_normal((40, 24))
FEATURES = unit_rows(CENTERS[RNG.integers(0, 40, 400)] + 0.5 * RNG.standard_normal((400, 24)))
EXACT = find_neighbors(FEATURES, 30)
GOOD = {"indptr": np.arange(0, 4001, 10), "indices": RNG.integers(0, 400, 4000)}


def folder_of(path, arrays):
    path.mkdir()
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def test_neighbors_in_any_order_become_those_of_the_exact_search(engine, tmp_path):
    named = RNG.permuted(EXACT.indices, axis=1)
    write_neighbors(tmp_path / "found.npz", named, FEATURES)
    found, recall = find_neighbors_in_file(FEATURES, [30], tmp_path / "found.npz")
    assert recall > 0.999
    np.testing.assert_allclose(found.similarities, EXACT.similarities, atol=1e-6)
    assert (found.indices == EXACT.indices).mean() > 0.999


def test_a_row_with_too_few_is_searched_exactly_and_wrong_ones_cost_recall(engine, tmp_path):
    named = EXACT.indices.copy()
    named[::2, 15:], named[::4, 15:] = -1, 400  # too few: neither is anybody
    named[1::4] = RNG.integers(
        0, 400, (100, 30)
    )  # strangers: of 30 random ones, few are twice the same
    write_neighbors(tmp_path / "found.npz", named)
    found, recall = find_neighbors_in_file(FEATURES, [25], tmp_path / "found.npz")
    right = (found.indices == EXACT.indices[:, :25]).mean(1) > 0.9
    assert right[::2].all() and right[3::4].all() and not right[1::4].any()
    assert recall == pytest.approx(0.77, abs=0.04)


def test_a_folder_of_arrays_is_read_from_the_disk(tmp_path):
    path = folder_of(tmp_path / "found", {**GOOD, "indices": GOOD["indices"].astype(np.uint32)})
    file = read_neighbors(path, FEATURES)
    assert isinstance(file.indices, np.memmap)
    np.testing.assert_array_equal(file.rows(390, 500), GOOD["indices"][3900:].reshape(10, 10))


def test_rows_of_several_lengths_end_with_nobody(tmp_path):
    indptr = np.concatenate([[0, 3, 3, 5], np.full(397, 5)])
    np.savez(tmp_path / "found.npz", indptr=indptr, indices=[7, 8, 9, 1, 2])
    rows = read_neighbors(tmp_path / "found.npz", FEATURES).rows(0, 4)
    assert rows.tolist() == [[7, 8, 9], [-1, -1, -1], [1, 2, -1], [-1, -1, -1]]


def test_lists_of_cameras_are_taken_from_it(tmp_path):
    if not kernels_available():
        pytest.skip("cameras need kernels")
    cameras = RNG.integers(0, 3, 400, np.int32)
    write_neighbors(tmp_path / "all.npz", np.tile(np.arange(400), (400, 1)))
    found, recall = find_neighbors_in_file(FEATURES, [6, 9], tmp_path / "all.npz", cameras=cameras)
    exact = find_camera_neighbors(FEATURES, cameras, 6, 9)
    assert recall == 1
    np.testing.assert_array_equal(found.intra.indices, exact.intra.indices)
    np.testing.assert_array_equal(found.inter.indices, exact.inter.indices)


def test_a_clusterer_takes_them(tmp_path):
    write_neighbors(tmp_path / "found.npz", find_neighbors(FEATURES, 60).indices, FEATURES)
    exact = JaccardDBSCAN(k1=10, k2=4)(FEATURES, seed=0, epoch=0)
    clusterer = JaccardDBSCAN(k1=10, k2=4, search=f"file:{tmp_path / 'found.npz'}")
    np.testing.assert_array_equal(clusterer(FEATURES, seed=0, epoch=0), exact)
    assert clusterer.info["search_recall"] > 0.999 and exact.max() > 20
    with pytest.raises(
        InputError, match=r"other features for 2.. of 256 images .*in the order of its images"
    ):
        clusterer(FEATURES[::-1], seed=0, epoch=0)


@pytest.mark.parametrize("cameras", [None, np.arange(400, dtype=np.int32) % 3])
def test_rows_of_any_length_lose_no_candidate_and_take_no_more_than_told(engine, cameras, tmp_path):
    if cameras is not None and not kernels_available():
        pytest.skip("cameras need kernels")
    # One row names the same 40 images all over again, and the nearest that it names comes last.
    long = np.append(np.resize(np.arange(40), 300_000), EXACT.indices[7, 1])
    rows = [row[:9] for row in EXACT.indices]
    rows[7] = long
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    path = folder_of(
        tmp_path / "found", dict(indptr=indptr, indices=np.concatenate(rows).astype(np.int32))
    )
    lists = [6] if cameras is None else [6, 5]
    short = [row if row is not long else np.unique(long) for row in rows]
    width = max(map(len, short))
    write_neighbors(
        tmp_path / "short.npz",
        np.stack([np.pad(row, (0, width - len(row)), constant_values=-1) for row in short]),
    )
    expected, _ = find_neighbors_in_file(FEATURES, lists, tmp_path / "short.npz", cameras=cameras)
    file = open_neighbors(path, 400)
    assert file.widest == len(long) > 200 * LONGEST
    told = approximate.approximate_bytes(400, 24, lists, "file", file=file)
    tracemalloc.start()
    try:
        found, _ = find_neighbors_in_file(FEATURES, lists, path, cameras=cameras)
        assert tracemalloc.get_traced_memory()[1] < told < 4 * 400 * len(long) / 4
    finally:
        tracemalloc.stop()
    both = [(found, expected)]
    if cameras is not None:
        both = [(found.intra, expected.intra), (found.inter, expected.inter)]
    for ours, theirs in both:
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_array_equal(ours.similarities, theirs.similarities)


def test_a_budget_counts_what_is_named(tmp_path):
    indptr = np.minimum(np.arange(401), 1) * 3_000_000
    path = folder_of(tmp_path / "found", dict(indptr=indptr, indices=np.zeros(3_000_000, np.int32)))
    clusterer = JaccardDBSCAN(k1=10, k2=4, search=f"file:{path}", max_memory="40MiB")
    with pytest.raises(InputError, match=r"max_memory of 40 MiB .*name fewer than 3000000 cand"):
        clusterer(FEATURES, seed=0, epoch=0)
    np.savez(tmp_path / "all.npz", indptr=indptr, indices=np.zeros(12_000_000, np.int32))
    clusterer.search = f"file:{tmp_path / 'all.npz'}"
    with pytest.raises(InputError, match=r"more than the 46 MiB .* a folder with a \.npy file"):
        clusterer.require_images(400)
    write_neighbors(tmp_path / "few.npz", EXACT.indices)
    clusterer.search = f"file:{tmp_path / 'few.npz'}"
    assert clusterer(FEATURES, seed=0, epoch=0).max() > 20


def test_images_that_are_put_together_or_left_out_have_their_candidates(tmp_path):
    rows = np.full((6, 3), -1)
    for image, named in enumerate([(1, 5), (0, 3), (), (2, -1, 4), (5, 0), (1,)]):
        rows[image, : len(named)] = named
    indptr, indices = np.arange(0, 19, 3), rows.ravel()
    path = folder_of(tmp_path / "found", dict(indptr=indptr.astype(np.uint64), indices=indices))
    # Images 0 and 3 are the first node, 4 shows nobody.
    file = open_neighbors(path, 6, np.array([0, 1, 2, 0, -1, 3]))
    named = [sorted(set(row) - {-1}) for row in file.rows(0, 9).tolist()]
    assert named == [[1, 2, 3], [0], [], [1]]
    np.testing.assert_array_equal(file.rows(1, 3), file.rows(0, 4)[1:3, :3])
    assert file.widest == 6 and file.num_nodes == 4
    assert file.rows(0, 4, longest=3).tolist()[0] == [-1] * 3


CAMERAS = np.arange(400) % 4
PIDS = (FEATURES @ unit_rows(CENTERS).T.astype(np.float32)).argmax(1)
EVIDENCES = {
    "as they are": (dict(), dict()),
    "centered": (dict(camera="center"), dict()),
    "any use of cameras": (dict(camera="auto"), dict()),
    "tracklets": (dict(tracklets=True), dict(tracklets=5 * PIDS + np.arange(400) % 5)),
    "ignored": (dict(), dict(ignored=np.arange(400) % 9 == 0)),
}


@pytest.mark.parametrize("name", EVIDENCES)
def test_what_is_made_of_the_images_has_the_candidates_of_the_images(name, tmp_path):
    if name == "any use of cameras" and not kernels_available():
        pytest.skip("cameras need kernels")
    options, known = EVIDENCES[name]
    evidence = Evidence(CAMERAS, **known)
    everyone = np.tile(np.arange(400), (400, 1))
    write_neighbors(tmp_path / "all.npz", everyone, FEATURES)
    labels = []
    for search in ("exact", f"file:{tmp_path / 'all.npz'}"):
        clustering = EvidenceClustering(
            JaccardDBSCAN(k1=8, k2=3, min_samples=2, search=search), **options
        )
        if options.get("camera") == "auto":
            choice = clustering.choose(FEATURES, evidence, seed=0, epoch=0)
            clustering.chosen = choice[0]
        nodes = clustering.prepare(FEATURES, evidence)
        labels.append(clustering(nodes, seed=0, epoch=0))
    np.testing.assert_array_equal(*labels)
    assert labels[0].max() > 20 and clustering.clusterer.recall == 1


def test_a_sample_is_of_the_features_that_a_run_begins_with(tmp_path):
    path = tmp_path / "found.npz"
    write_neighbors(path, EXACT.indices, FEATURES)
    options = dict(k1=10, k2=4, search=f"file:{path}")
    trained = unit_rows(FEATURES + 0.1)
    with pytest.raises(InputError, match="other features for"):
        EvidenceClustering(JaccardDBSCAN(**options)).prepare(trained, Evidence.unknown(400))
    clustering = EvidenceClustering(JaccardDBSCAN(**options))
    for features in (FEATURES, trained):
        clustering.prepare(features, Evidence.unknown(400))
    resumed = EvidenceClustering(JaccardDBSCAN(**options))
    resumed.load_state_dict(clustering.state_dict())
    resumed.prepare(trained, Evidence.unknown(400))
    # Whoever writes new lists meanwhile says of what.
    write_neighbors(path, EXACT.indices, FEATURES[::-1])
    with pytest.raises(InputError, match="other features for"):
        resumed.prepare(trained, Evidence.unknown(400))
    write_neighbors(path, EXACT.indices, trained)
    resumed.prepare(trained, Evidence.unknown(400))


def test_a_warm_start_adds_to_the_candidates_of_a_file(tmp_path):
    strangers = RNG.integers(0, 400, (400, 12))
    halves = [np.concatenate([EXACT.indices[:, one:12:2], strangers], 1) for one in (1, 2)]
    path = tmp_path / "half.npz"
    warm, cold = (
        JaccardDBSCAN(k1=10, search=f"file:{path}", warm_start=one) for one in (True, False)
    )
    for half in halves:
        write_neighbors(path, half)
        for clusterer in (warm, cold):
            clusterer.prepare(FEATURES)
    assert warm.recall > 0.99 and cold.recall < 0.7


@pytest.mark.parametrize("key", ["k1", "eps"])
def test_halves_of_features_have_no_neighbors_in_a_file(key):
    with pytest.raises(InputError, match=f"{key}='auto' with search='file:x'.*clusterer.search"):
        JaccardDBSCAN(search="file:x", **{key: "auto", "eps": "auto"})


def test_a_training_is_refused_at_its_start(tmp_path):
    write_neighbors(tmp_path / "found.npz", EXACT.indices)
    clusterer = JaccardDBSCAN(search=f"file:{tmp_path / 'found.npz'}")
    clusterer.require_images(400)
    with pytest.raises(InputError, match=r"neighbours of 400 images .* the 399 that are clustered"):
        clusterer.require_images(399)
    with pytest.raises(InputError, match=r"named by clusterer\.search"):
        JaccardDBSCAN(search=f"file:{tmp_path / 'none.npz'}").require_images(400)


def test_the_sample_tells_features_apart_but_not_their_rounding(tmp_path):
    path = tmp_path / "found.npz"
    write_neighbors(path, EXACT.indices, 3 * FEATURES)
    assert features_sample(FEATURES).shape == (256, 24)
    rounded = FEATURES.astype(np.float16).astype(np.float32)
    for same in (FEATURES, rounded, unit_rows(FEATURES * (1 + 1e-2 * RNG.random((400, 24))))):
        read_neighbors(path, same)
    swapped, moved = FEATURES.copy(), FEATURES.copy()
    swapped[[0, 2]] = FEATURES[[2, 0]]  # the third is not in it
    moved[399, 3] += 0.2
    for other in (swapped, moved):
        with pytest.raises(InputError, match="other features for 1 of 256 images"):
            read_neighbors(path, other)
    with pytest.raises(
        InputError, match=r"shape \(256, 24\) of the sample .* expected \(256, 23\)"
    ):
        read_neighbors(path, FEATURES[:, :23])


@pytest.mark.parametrize("write", ["npz", "folder"])
@pytest.mark.parametrize(
    "change, words",
    [
        (dict(indices=None), "holds no neighbours .*indices"),
        (dict(indptr=np.zeros(401)), "indptr is float64"),
        (dict(indices=GOOD["indices"].reshape(400, 10)), r"indices is int64 of shape \(400, 10\)"),
        (
            dict(indptr=np.arange(0, 3991, 10)),
            "neighbours of 399 images .* the 400 that are clustered",
        ),
        (dict(indptr=GOOD["indptr"] + 1), "from 1 to 4001 for 4000 indices"),
        (dict(indptr=GOOD["indptr"][::-1]), "from 4000 to 0"),
        (dict(indices=np.where(np.arange(4000) == 77, 400, 5)), "index 400 at place 77 .* 0..399"),
        (dict(metric=np.array("l2")), "metric='l2' .* 'cosine'"),
        (dict(sample=np.zeros((3, 24))), r"shape \(3, 24\) of the sample .* expected \(256, 24\)"),
        (dict(sample=np.zeros((256, 24))), "other features for 256 of 256 images"),
        (dict(sample=np.array("0123")), r"holds no neighbours \(sample is <U4 of shape"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(write, change, words, tmp_path):
    arrays = {name: one for name, one in (GOOD | change).items() if one is not None}
    if write == "npz":
        np.savez(tmp_path / "found.npz", **arrays)
    path = tmp_path / "found.npz" if write == "npz" else folder_of(tmp_path / "found", arrays)
    with pytest.raises(InputError, match=words):
        read_neighbors(path, FEATURES)


def test_no_file_and_no_neighbors_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"no file .*named by clusterer.search"):
        read_neighbors(tmp_path / "none.npz", FEATURES)
    with pytest.raises(InputError, match="type float64"):
        write_neighbors(tmp_path / "found.npz", np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"neighbours of 3 images beside features of \d+"):
        write_neighbors(tmp_path / "found.npz", np.zeros((3, 2), int), FEATURES)
    with pytest.raises(InputError, match=r"search='fast' .*'file:PATH'"):
        JaccardDBSCAN(search="fast")
