"""The HTTP API of what comes of corrections: questions, a map, new labels, a training, an export."""

import io
import sys
import time

import numpy as np
import pytest

from mmreid_uda.serve import work_routes


@pytest.fixture
def clusters(serve, review):
    return serve(review=review)


def refused(response, status, part=""):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"} and part in response.json()["error"]


def ended(client, job):
    """A job at its end."""
    assert job.status_code == 202, job.text
    deadline = time.monotonic() + 60
    while (found := client.get(f"/v1/jobs/{job.json()['id']}").json())["state"] in (
        "waiting",
        "running",
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_the_map_has_a_place_for_every_image_and_stays(clusters, review):
    first = clusters.get("/v1/map").json()
    assert all(len(first[name]) == 60 for name in ("x", "y", "label", "camera"))
    assert first["label"] == review.labels.tolist() and first["camera"][1] == "south"
    np.testing.assert_allclose(first["x"], review.map()[:, 0], atol=1e-3)
    assert clusters.get("/v1/map").json() == first


def test_questions_are_those_of_the_review_until_they_are_answered(clusters, review):
    for rule in ("ask_me", "random"):
        found = clusters.get(f"/v1/questions?num=5&rule={rule}").json()["questions"]
        expected = review.questions(5, rule)
        pairs = [(one["first"]["image"], one["second"]["image"]) for one in found]
        assert pairs == [(one.first, one.second) for one in expected] and pairs
        assert [one["why"] for one in found] == [one.why for one in expected]
        assert found[0]["first"]["camera"] and abs(found[0]["similarity"]) <= 1.0001
    first, second = pairs[0]
    clusters.post("/v1/acts", json={"kind": "same", "first": first, "second": second})
    again = clusters.get("/v1/questions?num=200&rule=random").json()["questions"]
    assert (first, second) not in [(one["first"]["image"], one["second"]["image"]) for one in again]
    refused(clusters.get("/v1/questions?num=0"), 422, "num")
    refused(clusters.get("/v1/questions?rule=best"), 422, "rule")


def test_new_labels_obey_what_was_said_and_are_held_against_the_old_ones(clusters, review):
    assert clusters.get("/v1/compare").json()["rows"] == []
    before = review.labels.copy()
    sizes = np.bincount(before[before >= 0])
    big = int(sizes.argmax())
    members = review.members(big)[0].tolist()
    act = {"kind": "split", "label": big, "images": members[-1:]}
    assert clusters.post("/v1/acts", json=act).status_code == 201
    job = ended(clusters, clusters.post("/v1/recluster"))
    assert job["state"] == "done" and job["kind"] == "recluster", job
    assert job["result"]["clusters"] == len(set(review.labels.tolist()) - {-1})
    assert review.labels[members[-1]] != review.labels[members[0]]
    compared = clusters.get("/v1/compare").json()
    assert compared["after"] == "clustered again" and "start of the server" in compared["before"]
    rows = {one["name"]: one for one in compared["rows"]}
    old, new = review.health(before), review.health()
    assert {name.replace(" ", "_") for name in rows} == set(new)
    violated = rows["cannot violated"]
    assert (violated["before"], violated["after"], violated["better"]) == (
        old["cannot_violated"],
        0,
        "lower",
    )
    assert violated["before"] > 0


def test_a_second_job_of_a_kind_waits_for_the_first(clusters, review, monkeypatch):
    def slowly():
        time.sleep(0.3)
        return review.labels

    monkeypatch.setattr(review, "recluster", slowly)
    first = clusters.post("/v1/recluster")
    refused(clusters.post("/v1/recluster"), 409, "wait for it")
    assert ended(clusters, first)["state"] == "done"
    assert clusters.post("/v1/recluster").status_code == 202
    refused(clusters.get("/v1/jobs/nothing"), 404)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose training is a program of two lines."""
    said = []

    def command(run, links, folder=None):
        said.append((run, links, folder))
        return ["mmreid", "train", "config.py", "--work-dir", str(folder)]

    class Training(work_routes.Training):
        def __init__(self, words, stopping):
            assert words[:3] == [sys.executable, "-m", "mmreid_uda.cli.main"]
            super().__init__([sys.executable, "-c", "print('epoch 1'); print('done')"], stopping)

    monkeypatch.setattr(work_routes, "next_training", command)
    monkeypatch.setattr(work_routes, "Training", Training)
    monkeypatch.setattr(
        work_routes,
        "compare_runs",
        lambda before, after, links, root: [
            ("must_violated", 3.0, 0.0),
            ("mAP", float("nan"), 51.5),
            ("outliers", None, 4),
        ],
    )
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_a_training_starts_where_it_is_allowed_and_is_compared(serve, review, run):
    client = serve(review=review, run=run, train=True)
    assert client.get("/v1/info").json()["training"]
    assert client.get("/v1/trainings").json()["command"][:2] == ["mmreid", "train"]
    job = ended(client, client.post("/v1/trainings"))
    assert job["state"] == "done" and job["log"] == ["epoch 1", "done"], job
    assert job["result"] == {"work_dir": f"{run}-2"}
    compared = client.get("/v1/compare").json()
    assert compared["before"].endswith(run.name) and compared["after"].endswith(f"{run.name}-2")
    rows = compared["rows"]
    assert rows[0] == {"name": "must violated", "before": 3.0, "after": 0.0, "better": "lower"}
    assert [(one["before"], one["after"]) for one in rows[1:]] == [(None, 51.5), (None, 4.0)]
    assert ended(client, client.post("/v1/recluster"))["state"] == "done"
    assert not client.get("/v1/compare").json()["after"].endswith("-2")


def test_a_training_is_refused_without_train_without_a_run_and_read_only(serve, review, run):
    refused(serve(review=review, run=run).post("/v1/trainings"), 403, "--train")
    refused(serve(review=review, train=True).post("/v1/trainings"), 403, "--run")
    client = serve(review=review, run=run, train=True, read_only=True)
    refused(client.post("/v1/trainings"), 403, "--read-only")
    refused(client.post("/v1/recluster"), 403, "--read-only")
    assert serve(review=review).get("/v1/trainings").json() == {"command": None}


def test_the_export_is_a_table_that_other_programs_open(clusters, review, pictures):
    parquet = pytest.importorskip("pyarrow.parquet")
    answer = clusters.get("/v1/export/review.parquet")
    assert answer.headers["content-disposition"] == 'attachment; filename="review.parquet"'
    table = parquet.read_table(io.BytesIO(answer.content))
    names = ["path", "camid", "label", "similarity", "x", "y", "embedding"]
    assert table.column_names == names and table.num_rows == 60
    columns = {name: table[name].to_pylist() for name in names}
    assert columns["path"] == [str(path) for path in pictures]
    assert columns["camid"] == [number % 3 for number in range(60)]
    assert columns["label"] == review.labels.tolist()
    np.testing.assert_allclose(np.array(columns["embedding"]), review.features, atol=1e-6)
    for label in set(columns["label"]):
        for image, similarity in zip(*review.members(label)):
            found = columns["similarity"][image]
            assert found is None if label < 0 else abs(found - similarity) < 1e-5
    points = np.stack([columns["x"], columns["y"]], 1)
    np.testing.assert_allclose(points, review.map(), atol=1e-4)


def test_without_a_review_there_is_nothing_to_work_on(client):
    for path in ("map", "questions", "compare", "trainings", "export/review.parquet"):
        refused(client.get(f"/v1/{path}"), 404, "--run")
    for path in ("recluster", "trainings"):
        refused(client.post(f"/v1/{path}"), 404, "--run")
