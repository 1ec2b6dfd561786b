"""A gallery is one file, whole or not there; features of the tools are galleries, too."""

from functools import partial

import numpy as np
import pytest
from gallery_items import made

from mmreid_uda.apis import FeatureSet, load_pseudo_labels
from mmreid_uda.evaluation import TimePrior
from mmreid_uda.gallery import (
    FileGallery,
    Filter,
    GallerySettings,
    Sightings,
    open_gallery,
    save_features,
)
from mmreid_uda.utils import InputError

FEATURES = np.eye(4, dtype=np.float32)
PATHS = ["a.jpg", "b.jpg", "ä/c.jpg", "d.jpg"]


def test_saved_features_are_a_gallery(tmp_path):
    save_features(tmp_path / "f.npz", FEATURES, PATHS, "abc", {"pid": np.arange(4)})
    gallery = FileGallery.load(tmp_path / "f.npz")
    assert (gallery.items.paths, gallery.fingerprint, len(gallery)) == (PATHS, "abc", 4)
    [[match]] = gallery.search(FEATURES[2:3], 1)
    assert (match.path, match.similarity, match.identity) == ("ä/c.jpg", 1.0, "2")
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["pid"].tolist() == [0, 1, 2, 3] and arrays["features"].dtype == np.float32


def test_saving_again_replaces_the_file_and_leaves_no_other(tmp_path):
    for features in (FEATURES, FEATURES[:2]):
        FileGallery.of(features, PATHS[: len(features)], "abc").save(tmp_path / "new" / "g.npz")
    assert len(FileGallery.load(tmp_path / "new" / "g.npz")) == 2
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["g.npz"]


def damaged(path, kind):
    """A file that is no gallery."""
    if kind == "text":
        path.write_text("no archive")
    elif kind == "cut":
        FileGallery.of(FEATURES, PATHS, "abc").save(path)
        path.write_bytes(path.read_bytes()[:300])
    elif kind == "other arrays":
        np.savez(path, distances=FEATURES)
    elif kind == "objects":
        np.savez(path, features=np.array([{}]), paths=np.array([{}]))
    elif kind == "nothing":
        path.touch()
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, FEATURES)
    return path


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("text", "not written by NumPy"),
        ("cut", "not a zip file"),
        ("other arrays", "is not a file in the archive"),
        ("one array", "one array alone"),
        ("objects", "holds Python objects"),
        ("nothing", "empty file"),
    ],
)
def test_another_file_is_refused_in_one_sentence(tmp_path, kind, reason):
    path = damaged(tmp_path / "g.npz", kind)
    for load, words in (
        (FileGallery.load, "is not a gallery"),
        (FeatureSet.load, "is no file of features"),
        (partial(load_pseudo_labels, paths=["a.jpg"]), "holds no pseudo-labels"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load(path)
        # NumPy's own advice, allow_pickle, would run the code in a stranger's file.
        assert "pickle" not in str(caught.value)
        assert reason in str(caught.value)


@pytest.mark.parametrize("index", ["flat", "hnsw"])
def test_any_damage_to_a_file_is_a_sentence(tmp_path, index):
    if index == "hnsw":
        pytest.importorskip("faiss")
    whole, broken = tmp_path / "g.npz", tmp_path / "x.npz"
    FileGallery.of(FEATURES, PATHS, "abc", index).save(whole)
    with np.load(whole) as arrays:
        np.savez_compressed(whole, **arrays)
    content, rng, refused = whole.read_bytes(), np.random.default_rng(0), 0
    for number in range(300):
        damage = bytearray(content)
        if number % 3:
            for place in rng.integers(len(damage), size=1 + number % 7):
                damage[place] = rng.integers(256)
        else:
            del damage[rng.integers(len(damage)) :]
        broken.write_bytes(damage)
        try:
            FileGallery.load(broken)
        except InputError as error:
            refused += 1
            assert len(str(error)) < 500 and "\n" not in str(error)
    assert refused > 200


def test_a_missing_file_a_wrong_name_and_lost_paths_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"found no file .*expected a gallery"):
        FileGallery.load(tmp_path / "g.npz")
    with pytest.raises(InputError, match=r"expected a name in \.npz"):
        FileGallery.of(FEATURES, PATHS, "abc").save(tmp_path / "g.faiss")
    with pytest.raises(InputError, match="4 features and 3 paths"):
        FileGallery.of(FEATURES, PATHS[:3], "abc")


def test_a_search_with_times_ranks_the_candidates_anew():
    prior = TimePrior(np.arange(40) // 2, np.tile(["a", "b"], 20), np.tile([0.0, 20.0], 20), 2.0)
    angles = np.array([0.1, 0.2, 0.3, 0.5])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    seen = Sightings(np.array(["a", "b", "b", "b"]), np.array([20.0, np.nan, 2000.0, 20.0]))
    gallery, query = FileGallery.of(features, list("wxyz"), "", sightings=seen), np.eye(2)[:1]
    asked = Sightings(np.array(["a"]), np.array([0.0]))
    probability = prior.probability(*asked, *seen)[0]
    assert (probability[:3] < 1e-6).all() and probability[3] > 0.005
    scores = 1 / (1 + np.exp(-5 * np.cos(angles))) / (1 + 2 * np.exp(-5 * probability))
    for topk, candidates, expected in (
        (1, 1000, [3]),
        (1, 1, [0]),
        (3, 1, [0, 1, 2]),
        (9, 9, [3, 0, 1, 2]),
    ):
        [found] = gallery.search(query, topk, prior=prior, sightings=asked, candidates=candidates)
        assert [match.path for match in found] == ["wxyz"[one] for one in expected]
        assert [match.score for match in found] == pytest.approx(scores[expected], abs=1e-6)
    gallery = FileGallery.of(features, list("wxyz"), "")
    with pytest.raises(InputError, match="found a gallery without cameras and times"):
        gallery.search(query, prior=prior, sightings=asked)


def test_a_second_writer_of_a_file_is_told_and_takes_nothing_back(tmp_path):
    path = tmp_path / "g.npz"
    with open_gallery(path, create=GallerySettings()) as gallery:
        gallery.add(made(4))
        gallery.flush()
        gallery.add(made(2, seed=1))
        gallery.flush()  # its own writing is no other's
    first, second = open_gallery(path), open_gallery(path)
    first.delete(Filter(ids=made(4).ids[:1]))
    first.close()
    second.update(made(4).ids[1:2], identity="eve")
    with pytest.raises(InputError, match="written by somebody else since it was read"):
        second.close()
    with open_gallery(path, read_only=True) as gallery:
        assert len(gallery) == 5 and gallery.count(Filter(identities=["eve"])) == 0


def test_two_that_make_one_file_do_not_write_over_each_other(tmp_path):
    both = [open_gallery(tmp_path / "g.npz", create=GallerySettings()) for _ in range(2)]
    for number, gallery in enumerate(both):
        gallery.add(made(3, seed=number))
    both[0].close()
    with pytest.raises(InputError, match="somebody else"):
        both[1].close()
