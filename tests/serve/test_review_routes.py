"""The HTTP API of clusters, held against the review itself."""

import io

import numpy as np
import pytest
from PIL import Image

from mmreid_uda.datasets.links import read_links


def refused(response, status, part=""):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and part in response.json()["error"]


def test_clusters_are_those_of_the_table_in_every_order(clusters, review):
    table = review.clusters()
    assert 5 < len(table) < 60
    orders = {
        "worst": table.labels,
        "size": table.labels[np.argsort(-table.sizes, kind="stable")],
        "label": np.sort(table.labels),
    }
    for order, labels in orders.items():
        first = clusters.get(f"/v1/clusters?order={order}&limit=4").json()
        rest = clusters.get(f"/v1/clusters?order={order}&offset=4&limit=1000").json()
        assert [one["label"] for one in first["clusters"] + rest["clusters"]] == labels.tolist()
        assert first["total"] == len(table) and first["outliers"] == (review.labels < 0).sum()
    one = clusters.get("/v1/clusters?limit=1").json()["clusters"][0]
    assert (one["size"], one["cameras"]) == (table.sizes[0], table.num_cameras[0])
    assert one["reasons"] == table.reasons[0] and one["cover"] == table.cover[0].tolist()
    assert [near["label"] for near in one["nearest"]] == table.nearest[0].tolist()
    np.testing.assert_allclose(
        [near["similarity"] for near in one["nearest"]], table.nearest_similarity[0], atol=1e-4
    )
    refused(clusters.get("/v1/clusters?order=best"), 422, "order")
    info = clusters.get("/v1/info").json()["run"]
    assert info == {
        "name": "colors",
        "images": 60,
        "clusters": len(table),
        "outliers": int((review.labels < 0).sum()),
        "links_path": "links.csv",
    }


def test_images_of_a_cluster_come_the_nearest_to_its_center_first(clusters, review):
    label = int(review.clusters().labels[0])
    images, similarity = review.members(label)
    found = clusters.get(f"/v1/clusters/{label}?offset=1&limit=2").json()
    assert found["total"] == len(images) and found["label"] == label
    assert [one["image"] for one in found["members"]] == images[1:3].tolist()
    np.testing.assert_allclose(
        [one["similarity"] for one in found["members"]], similarity[1:3], atol=1e-5
    )
    every = {
        one["image"]: one
        for each in [-1, *range(int(review.labels.max()) + 1)]
        for one in clusters.get(f"/v1/clusters/{each}").json()["members"]
    }
    assert sorted(every) == list(range(60))
    assert every[3]["time"] is None and every[4]["time"] == 4 and every[4]["camera"] == "south"
    assert every[1]["tracklet"] == "" and every[4]["tracklet"] == "2"
    assert all(one["label"] == review.labels[image] for image, one in every.items())
    refused(clusters.get("/v1/clusters/9999"), 404, "no cluster 9999")
    refused(clusters.get("/v1/clusters/x"), 422)


def test_pictures_of_the_review_are_served_by_position(clusters, pictures):
    assert clusters.get("/v1/images/7/image").content == pictures[7].read_bytes()
    small = clusters.get("/v1/images/7/thumbnail?size=64").content
    assert Image.open(io.BytesIO(small)).size == (32, 64)
    for number in (60, -1, 10**30):
        refused(clusters.get(f"/v1/images/{number}/image"), 404)


def test_acts_are_rows_of_the_file_with_who_said_it(clusters, review):
    sizes = np.bincount(review.labels[review.labels >= 0])
    big = int(sizes.argmax())
    members = review.members(big)[0].tolist()
    acts = [
        {"kind": "merge", "labels": [0, 1], "author": "ann"},
        {"kind": "split", "label": big, "images": members[-1:], "author": "ann"},
        {"kind": "same", "first": 0, "second": 30},
        {"kind": "different", "first": 1, "second": 31},
        {"kind": "not_subject", "images": [59]},
    ]
    written = 0
    for act in acts:
        answer = clusters.post("/v1/acts", json=act)
        assert answer.status_code == 201, answer.text
        said = answer.json()
        written += said["links_written"]
        assert said["act"]["kind"] == act["kind"] and said["act"]["rows"] == said["links_written"]
        assert said["act"]["author"] == act.get("author", "") and said["act"]["time"] > 1e9
        assert len(read_links(str(review.links_path))) == written
    listed = clusters.get("/v1/acts").json()["acts"]
    assert [one["kind"] for one in listed] == [one["kind"] for one in reversed(acts)]
    assert listed[3]["text"] == f"Images split off: {review.paths[members[-1]].split('/')[-1]}"
    assert listed[2]["text"] == "Same subject: 000.jpg, 030.jpg" and not listed[2]["undone"]
    undone = clusters.post(f"/v1/acts/{listed[2]['id']}/undo")
    assert undone.json()["act"]["kind"] == "undo"
    assert clusters.get("/v1/acts").json()["acts"][3]["undone"]
    refused(clusters.post(f"/v1/acts/{listed[2]['id']}/undo"), 422, "undone already")
    refused(clusters.post("/v1/acts/nothing/undo"), 404)
    links = clusters.get("/v1/links?limit=1000").json()
    assert links["total"] == len(review.links) and links["not_subject"] == [59]
    pairs = {(one["first"], one["second"]): one["kind"] for one in links["links"]}
    assert pairs[1, 31] == "cannot" and (0, 30) not in pairs


@pytest.mark.parametrize(
    "act, part",
    [
        ({"kind": "merge", "labels": [1]}, "two at least"),
        ({"kind": "merge", "labels": [0, 9999]}, "9999"),
        ({"kind": "merge", "label": 1, "images": [1]}, "expected labels"),
        ({"kind": "split", "label": 0}, "expected label and images"),
        ({"kind": "split", "label": 0, "images": [10**6]}, "10"),
        ({"kind": "same", "first": 3, "second": 3}, "image 3 twice"),
        ({"kind": "same", "first": 3}, "expected first and second"),
        ({"kind": "same", "first": 3, "second": -1}, "second"),
        ({"kind": "not_subject", "images": []}, "images"),
        ({"kind": "undo"}, "kind"),
        ({"kind": "same", "first": 1, "second": 2, "author": "a\nb"}, "author"),
    ],
)
def test_an_act_that_says_nothing_is_refused_and_writes_nothing(clusters, review, act, part):
    refused(clusters.post("/v1/acts", json=act), 422, part)
    assert not review.links_path.exists()


def test_clusters_that_were_made_anew_are_not_taken_for_those_that_were_shown(clusters, review):
    shown = clusters.get("/v1/clusters").json()["clustering"]
    assert clusters.get("/v1/clusters/1").json()["clustering"] == shown
    assert clusters.get("/v1/map").json()["clustering"] == shown
    merge = dict(kind="merge", labels=[0, 1], clustering=shown)
    review.labels = np.roll(review.labels, 5)
    refused = clusters.post("/v1/acts", json=merge)
    assert refused.status_code == 409 and "made anew" in refused.json()["error"]
    assert not review.acts()
    pair = dict(kind="same", first=3, second=9, clustering=shown)
    assert clusters.post("/v1/acts", json=pair).status_code == 201
    now = clusters.get("/v1/clusters").json()["clustering"]
    assert clusters.post("/v1/acts", json={**merge, "clustering": now}).status_code == 201


def test_the_author_is_the_name_of_the_token_unless_somebody_is_named(serve, review):
    client = serve(review=review, tokens={"ann": "sixteen-letters-and-more"})
    client.headers["authorization"] = "Bearer sixteen-letters-and-more"
    for body, author in (({}, "ann"), ({"author": "bob"}, "bob")):
        act = {"kind": "same", "first": 0, "second": 1, **body}
        assert client.post("/v1/acts", json=act).json()["act"]["author"] == author
    done = client.get("/v1/acts").json()["acts"][0]
    assert client.post(f"/v1/acts/{done['id']}/undo").json()["act"]["author"] == "ann"


def test_nothing_is_said_of_what_is_served_read_only(serve, review):
    client = serve(review=review, read_only=True)
    for path, body in (
        ("acts", {"kind": "same", "first": 0, "second": 1}),
        ("acts/x/undo", {}),
    ):
        refused(client.post(f"/v1/{path}", json=body), 403)
    assert client.get("/v1/clusters").status_code == 200


def test_without_a_review_there_are_no_clusters(client):
    for path in ("clusters", "clusters/1", "acts", "links", "images/1/image"):
        refused(client.get(f"/v1/{path}"), 404, "--run")
