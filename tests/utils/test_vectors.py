"""One function tells vectors from what is none, wherever they are made, stored, read, searched, clustered or drawn."""

from functools import partial

import numpy as np
import pytest
import torch

from mmreid_uda.apis import FeatureSet
from mmreid_uda.clustering import JaccardDBSCAN, KMeans, sweep_dbscan
from mmreid_uda.evaluation import evaluate_rank, expand_queries, rerank
from mmreid_uda.gallery import FileGallery, save_features
from mmreid_uda.neighbors import find_neighbors_approximately, knn
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.visualization import camera_histograms, project, rank_rows


def eye(**changes):
    """Six unit vectors, some entries changed: ``row2=nan``."""
    rows = np.eye(6, dtype=np.float32)
    for name, value in changes.items():
        rows[int(name.removeprefix("row"))] = value
    return rows


WRONG = {
    "nan": (eye(row2=np.nan), "1 row with NaN, infinite or too large values among the 6"),
    "inf": (eye(row2=np.inf, row4=-np.inf), "2 rows with NaN, infinite"),
    "too large": (eye(row2=1e30), "1 row with NaN, infinite or too large"),
    "zero": (eye(row2=0), "1 row of zeros"),
    "both": (
        eye(row2=0, row3=np.nan),
        "1 row with NaN, .* and 1 row of zeros .*first is (row 2|'2)",
    ),
    "objects": (np.array([["a", {}]], object), "no matrix|holds Python objects"),
    "texts": (np.array([["1", "2"]]), "no matrix"),
    "complex": (eye().astype(complex), "no matrix"),
    "no rows": (np.empty((0, 6), np.float32), r"shape \(0, 6\)"),
    "no columns": (np.empty((6, 0), np.float32), r"shape \(6, 0\)"),
    "one axis": (np.ones(6, np.float32), r"shape \(6,\)"),
    "three axes": (np.ones((6, 2, 2), np.float32), r"shape \(6, 2, 2\)"),
}


def saved(load, folder, vectors):
    """Write a file of features as anyone might, and load it."""
    path = folder / "f.npz"
    names = np.array([f"{number}.jpg" for number in range(len(vectors))], dtype=str)
    np.savez(path, features=vectors, paths=names, fingerprint=np.array("f"))
    return load(path)


def doors(folder, x):
    """Everything that takes vectors."""
    num = len(x)
    paths, pids, cams = [f"{one}.jpg" for one in range(num)], np.zeros(num, int), np.arange(num)
    good = FileGallery.of(eye(), list("abcdef"), "f")
    return {
        "check_vectors": partial(check_vectors, x, "features"),
        "save_features": partial(save_features, folder / "s.npz", x, paths, "f"),
        "FeatureSet.load": partial(saved, FeatureSet.load, folder, x),
        "Gallery": partial(FileGallery.of, x, paths, "f"),
        "Gallery.load": partial(saved, FileGallery.load, folder, x),
        "Gallery.search": partial(good.search, x),
        "knn": partial(knn, x, 1),
        "ivf": partial(find_neighbors_approximately, x, 1, "ivf"),
        "KMeans": partial(KMeans(1), x, seed=0, epoch=0),
        "JaccardDBSCAN": partial(JaccardDBSCAN(eps=0.5), x, seed=0, epoch=0),
        "sweep": lambda: list(sweep_dbscan(x, [0.5])),
        "project": partial(project, x),
        "cameras": partial(camera_histograms, x, pids, cams),
        "ranks": partial(rank_rows, x, pids, cams, cams < 1, paths, [0]),
        "evaluate": partial(evaluate_rank, x, x, [0] * num, [0] * num, [0] * num, [1] * num),
        "rerank": lambda: list(rerank(x, x)),
        "expand": partial(expand_queries, x, x),
    }


@pytest.mark.parametrize("kind", WRONG)
def test_vectors_that_are_none_are_a_sentence_at_every_door(tmp_path, kind):
    pytest.importorskip("faiss")
    vectors, words = WRONG[kind]
    for name, enter in doors(tmp_path, vectors).items():
        if (name, kind) in {("knn", "zero"), ("knn", "both"), ("cameras", "no rows")}:
            continue  # a row of zeros has neighbours; no image, no pair
        if name == "evaluate" and kind == "no rows":
            words = "none of 0 queries"
        with pytest.raises(InputError, match=words):
            enter()
            pytest.fail(f"{name} has taken {kind}")
        words = WRONG[kind][1]
    assert not (tmp_path / "s.npz").exists()


def test_good_vectors_pass_every_door(tmp_path):
    pytest.importorskip("faiss")
    for vectors in (eye(), eye().astype(np.float16), 3 * eye().astype(int), eye().tolist()):
        for name, enter in doors(tmp_path, np.asarray(vectors)).items():
            assert name == "save_features" or enter() is not None


@pytest.mark.parametrize("kind", ["array", "tensor", "half", "list", "read-only", "reversed"])
def test_what_is_checked_comes_back_as_float32(kind):
    rows = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    given = {
        "array": rows,
        "tensor": torch.from_numpy(rows),
        "half": rows.astype(np.float16),
        "list": rows.tolist(),
        "read-only": np.frombuffer(rows.tobytes(), np.float32).reshape(3, 2),
        "reversed": rows[::-1],
    }[kind]
    checked = check_vectors(given, "features")
    assert isinstance(checked, torch.Tensor if kind == "tensor" else np.ndarray)
    expected = rows[::-1] if kind == "reversed" else rows
    np.testing.assert_array_equal(np.asarray(checked), expected)
    assert (checked is rows or np.shares_memory(np.asarray(checked), rows)) == (
        kind in ("array", "tensor")
    )


def test_a_row_goes_by_its_name_and_zeros_can_be_allowed():
    with pytest.raises(
        InputError, match=r"features of the shop \(the first is 'c.jpg'\).*; mend it\.$"
    ):
        names = [f"{one}.jpg" for one in "abcdef"]
        check_vectors(eye(row2=np.nan), "features of the shop", "mend it", names=names)
    assert check_vectors(eye(row2=0), "features", zeros=True).shape == (6, 6)
    with pytest.raises(InputError, match="1 row with NaN"):
        check_vectors(eye(row2=np.nan), "features", zeros=True)
