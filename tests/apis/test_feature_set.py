"""Features with their images, pseudo-labels by path, queries to look at."""

import numpy as np
import pytest

from mmreid_uda.apis import FeatureSet, load_pseudo_labels, save_features
from mmreid_uda.apis.feature_set import choose_queries
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError


def save(path, num, dimensions=3, **labels):
    features = np.eye(num, dimensions, dtype=np.float32)
    save_features(
        path, features, [f"{path.stem}/{one}.jpg" for one in range(num)], "f" * 64, labels
    )
    return FeatureSet.load(path)


def test_two_files_are_queries_and_gallery(tmp_path):
    query = save(tmp_path / "q.npz", 2, pid=np.array([7, 8]), camid=np.array([0, 1]))
    gallery = save(tmp_path / "g.npz", 3)
    joined = query.joined(gallery)
    assert joined.is_query.tolist() == [True, True, False, False, False]
    assert joined.pids.tolist() == [7, 8, -1, -1, -1]
    assert len(set(joined.camids.tolist())) == 5  # unknown on one side: one for each image
    assert joined.paths[2] == "g/0.jpg"
    with pytest.raises(InputError, match="3 dimensions and a gallery of 4"):
        query.joined(save(tmp_path / "h.npz", 3, 4))


def test_texts_are_numbered_over_both_files(tmp_path):
    # Queries are c and a, which each file alone would number 1 and 0; the gallery is a, b, c.
    query = save(tmp_path / "q.npz", 2, pid=np.array(["c", "a"]), camid=np.array([0, 0]))
    gallery = save(tmp_path / "g.npz", 3, pid=np.array(["a", "b", "c"]), camid=np.ones(3, int))
    assert query.pids.tolist() == [1, 0] and query.pids.dtype == np.int64
    joined = query.joined(gallery)
    assert joined.pids.tolist() == [2, 0, 0, 1, 2]
    unnamed = save(tmp_path / "u.npz", 2)
    assert query.joined(unnamed).pids[2:].tolist() == [-1, -1]


def test_unknown_cameras_of_two_files_are_told_apart_by_their_images(tmp_path):
    labels = dict(pid=np.array([1, 2]), camid=np.array([0, 1]), has_cameras=np.array(False))
    joined = save(tmp_path / "q.npz", 2, **labels).joined(save(tmp_path / "g.npz", 2, **labels))
    assert len(set(joined.camids.tolist())) == 4
    same = save(tmp_path / "q.npz", 2, **labels).joined(save(tmp_path / "q.npz", 2, **labels))
    assert same.camids[:2].tolist() == same.camids[2:].tolist()  # a query does not find itself


def test_features_of_two_models_are_not_compared(tmp_path):
    query, path = save(tmp_path / "q.npz", 2), tmp_path / "g.npz"
    save_features(path, np.eye(2, 3), ["a", "b"], "e" * 64)
    with pytest.raises(
        InputError, match=r"fingerprint e{12}, the queries have f{12}.* cannot be comp"
    ):
        query.joined(FeatureSet.load(path))


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(InputError, match="found no file"):
        FeatureSet.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", labels=np.zeros(3))
    with pytest.raises(InputError, match=r"no file of features .*features"):
        FeatureSet.load(tmp_path / "other.npz")


def test_pseudo_labels_are_found_by_path_then_by_name(tmp_path):
    file = tmp_path / "epoch_001.npz"
    np.savez(file, paths=np.array(["data/a.jpg", "data/b.jpg"]), labels=np.array([4, -1]))
    assert load_pseudo_labels(file, ["data/b.jpg", "data/a.jpg"]).tolist() == [-1, 4]
    assert load_pseudo_labels(file, ["elsewhere/a.jpg"]).tolist() == [4]
    with pytest.raises(InputError, match="1 of 2 images have no label among the 2"):
        load_pseudo_labels(file, ["data/a.jpg", "data/c.jpg"])


def test_one_name_in_two_folders_is_no_match_for_a_third(tmp_path):
    file = tmp_path / "epoch_001.npz"
    np.savez(file, paths=np.array(["s1/1.jpg", "s2/1.jpg"]), labels=np.array([0, 1]))
    assert load_pseudo_labels(file, ["s2/1.jpg"]).tolist() == [1]
    with pytest.raises(InputError, match="have no label"):
        load_pseudo_labels(file, ["s3/1.jpg"])


def test_what_is_known_of_images_comes_along(tmp_path):
    told = dict(time=np.array([1.5, np.nan]), tracklet=np.array([3, -1]), camid=np.array([-1, 2]))
    evidence = save(tmp_path / "all.npz", 2, **told).evidence
    assert evidence.times[0] == 1.5 and np.isnan(evidence.times[1])
    assert evidence.tracklets.tolist() == [3, -1] and evidence.cameras.tolist() == [-1, 2]
    evidence = save(tmp_path / "none.npz", 2).evidence
    assert not (evidence.has_times or evidence.has_tracklets or evidence.has_cameras)


def test_the_worst_queries_come_first():
    # Gallery: 0 and 1, one image each. The first query finds its own, the second the other, the third has no match.
    features = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    images = FeatureSet(
        features,
        list("abcde"),
        np.array([0, 1, 9, 0, 1]),
        np.array([0, 0, 0, 1, 1]),
        Evidence(np.array([0, 0, 0, 1, 1])),
        np.array([True, True, True, False, False]),
        np.array([False, False, False, True, True]),
    )
    chosen, captions = choose_queries(images, 5, worst=True)
    assert chosen == [1, 0]
    assert captions == [
        "b, identity 1, camera 0, AP 50.0 %",
        "a, identity 0, camera 0, AP 100.0 %",
    ]
    assert choose_queries(images, 1)[0] == [0]


def test_people_are_called_as_the_data_call_them_and_unknown_cameras_not_at_all(tmp_path):
    labels = dict(pid=np.array(["ann", "bob", "NULL"]), camid=np.array([-1, 1, -1]))
    query = save(tmp_path / "q.npz", 3, **labels)
    assert query.pids.tolist() == [0, 1, -1]  # no name
    assert query.cameras.tolist() == [-1, 1, -1] and query.camids.tolist() == [2, 1, 4]
    images = query.joined(save(tmp_path / "g.npz", 3, **labels | dict(camid=np.array([-1, 0, 1]))))
    chosen, captions = choose_queries(images, 2)
    assert captions == [
        "0.jpg, identity ann, AP 100.0 %",
        "1.jpg, identity bob, camera 1, AP 100.0 %",
    ]
    [(path, [first]), _] = images.ranking(chosen, 1)
    assert (path, first) == ("q/0.jpg", ("g/0.jpg", "ann", True))


@pytest.mark.parametrize(
    "name, values",
    [
        ("pid", np.array([1.0, np.nan])),
        ("pid", np.array([1])),
        ("pid", np.zeros((2, 2), int)),
        ("camid", np.array(["a", "b"])),
        ("time", np.array([1, 2])),
        ("tracklet", np.array([0.0, 1.0])),
        ("camid", np.array([0.0, np.inf])),
        ("paths", np.array([["a"], ["b"]])),
        ("paths", np.array([1, 2])),
        ("paths", np.array("a")),
    ],
)
def test_labels_of_another_kind_are_refused(tmp_path, name, values):
    arrays = {"features": np.eye(2), "paths": np.array(["a", "b"]), name: values}
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match=rf"is no file of features \({name} is "):
        FeatureSet.load(tmp_path / "f.npz")


@pytest.mark.parametrize(
    "labels, paths",
    [
        (np.array([np.nan]), np.array(["a"])),
        (np.array(["x"]), np.array(["a"])),
        (np.array([1, 2]), np.array(["a"])),
        (np.array(1), np.array(["a"])),
        (np.array([1]), np.array([3])),
    ],
)
def test_pseudo_labels_of_another_kind_are_refused(tmp_path, labels, paths):
    np.savez(tmp_path / "l.npz", labels=labels, paths=paths)
    with pytest.raises(InputError, match="holds no pseudo-labels"):
        load_pseudo_labels(tmp_path / "l.npz", ["a"])
