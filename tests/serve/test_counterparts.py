"""Items of a gallery and images of a review that are of the same file."""

import os

import numpy as np

from mmreid_uda.gallery import Filter, content_id
from mmreid_uda.review import Review
from mmreid_uda.serve.counterparts import Counterparts
from mmreid_uda.structures import Evidence


def a_review(tmp_path, contents, paths):
    evidence = Evidence.unknown(len(paths))
    return Review(
        contents[1][: len(paths)],
        paths,
        np.zeros(len(paths)),
        evidence,
        tmp_path / "l.csv",
        tmp_path,
    )


def test_the_same_file_is_found_from_both_sides(
    serve, gallery, pictures, contents, tmp_path, monkeypatch
):
    """The review has other images than the gallery, in another order, and names them relative to the working folder."""
    monkeypatch.chdir(tmp_path)
    gallery.delete(Filter(ids=(content_id(pictures[2]),)))
    (tmp_path / "other.jpg").write_bytes(b"of the review alone")
    paths = [
        os.path.relpath(pictures[4]),
        os.path.relpath(pictures[2]),
        "other.jpg",
        str(pictures[9]),
        "gone.jpg",
    ]
    client = serve(review=a_review(tmp_path, contents, paths))
    members = client.get("/v1/clusters/0").json()["members"]
    ids = {4: content_id(pictures[4]), 9: content_id(pictures[9])}
    found = {one["image"]: one["item"] for one in members}
    assert found == {0: ids[4], 1: None, 2: None, 3: ids[9], 4: None}
    assert client.get(f"/v1/items/{ids[4]}").json()["image"] == 0
    items = client.get("/v1/items?limit=100").json()["items"]
    assert {one["id"]: one["image"] for one in items if one["image"] is not None} == {
        ids[4]: 0,
        ids[9]: 3,
    }
    matches = client.post("/v1/search/items", json={"ids": [ids[4]], "topk": 58}).json()["matches"]
    assert {one["id"]: one["image"] for one in matches}[ids[9]] == 3


def test_without_a_gallery_or_a_review_nothing_has_a_counterpart(
    gallery, contents, pictures, tmp_path
):
    review = a_review(tmp_path, contents, [str(path) for path in pictures[:3]])
    assert Counterparts(None, review).items([0, 2]) == [None, None]
    assert Counterparts(gallery, None).images([str(pictures[0])]) == [None]
