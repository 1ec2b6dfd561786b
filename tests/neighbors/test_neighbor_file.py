"""Neighbours of another engine are candidates: checked when they are read, and ranked by the features."""

import numpy as np
import pytest

from mmreid_uda.clustering import JaccardDBSCAN
from mmreid_uda.neighbors import (
    features_fingerprint,
    find_camera_neighbors,
    find_neighbors,
    find_neighbors_in_file,
    read_neighbors,
    unit_rows,
    write_neighbors,
)
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
    assert clusterer.info["recall"] > 0.999 and exact.max() > 20
    with pytest.raises(InputError, match=r"fingerprint .* of those that are clustered"):
        clusterer(FEATURES[::-1], seed=0, epoch=0)


def test_the_fingerprint_tells_shapes_and_rows_apart():
    other = FEATURES.copy()
    other[399, 3] += 1e-6
    each = {features_fingerprint(rows) for rows in (FEATURES, other, FEATURES[:399])}
    assert len(each) == 3 and features_fingerprint(FEATURES.copy()) in each


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
        (dict(fingerprint=np.array("0123")), "fingerprint '0123' .* expected '[0-9a-f]{16}'"),
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
    with pytest.raises(InputError, match=r"search='fast' .*'file:PATH'"):
        JaccardDBSCAN(search="fast")
