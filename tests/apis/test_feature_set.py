"""Features with their images, pseudo-labels by path, queries to look at."""

import numpy as np
import pytest

from mmreid_uda.apis import FeatureSet, choose_queries, load_pseudo_labels, save_features
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


def test_the_worst_queries_come_first():
    # Gallery: 0 and 1, one image each. The first query finds its own, the second the other, the third has no match.
    features = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    images = FeatureSet(
        features,
        list("abcde"),
        np.array([0, 1, 9, 0, 1]),
        np.array([0, 0, 0, 1, 1]),
        np.array([True, True, True, False, False]),
    )
    chosen, captions = choose_queries(images, 5, worst=True)
    assert chosen == [1, 0]
    assert captions == ["identity 1, camera 0, AP 50.0", "identity 0, camera 0, AP 100.0"]
    assert choose_queries(images, 1)[0] == [0]
