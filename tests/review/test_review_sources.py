"""A run and a gallery become reviews, a review the next training, and two runs a table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mmreid_uda.checkpoint import find_checkpoint
from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.gallery import GallerySettings, Items, open_gallery
from mmreid_uda.review import Review, compare_runs, free_folder, next_training
from mmreid_uda.review.sources import review_config
from mmreid_uda.utils import InputError

OPTIONS = {
    "train_cfg.max_epochs": 1,
    "train_cfg.val_interval": 100,
    "iters_per_epoch": 1,
    "relabel.min_clusters": 2,
    "relabel.policy": "relax_eps",
}


@pytest.fixture(scope="module")
def run(write_tiny, tmp_path_factory):
    """The folder of a run of one iteration."""
    folder = tmp_path_factory.mktemp("tiny")
    build_runner(load_config(write_tiny(folder), OPTIONS)).train()
    return folder / "work"


@pytest.mark.slow
def test_a_run_is_looked_at_and_its_features_are_kept(run, monkeypatch):
    links = run / "said.csv"
    review = Review.of_run(run, links=links)
    saved = np.load(run / "pseudo_labels" / "epoch_001.npz")
    assert (
        review.labels.tolist() == saved["labels"].tolist()
        and review.paths == saved["paths"].tolist()
    )
    assert review.name == "work" and (review.identities >= 0).all() and review.ids is None
    [cache] = (run / "review").iterdir()
    monkeypatch.setattr("mmreid_uda.apis.ReIDInferencer.extract", None)  # read, not computed
    again = Review.of_run(run, links=links)
    assert np.array_equal(again.features, review.features) and cache.stat().st_size > 1000
    # The clusterer and its state are those of the checkpoint.
    clustering = review.clustering.clustering
    config = load_config(run / "tiny.py").default_hooks.cluster
    assert clustering.clusterer.k1 == config.clusterer.k1
    assert review.clustering.epoch == 1
    labels = review.recluster(keep=False)
    assert np.array_equal(labels, review.recluster(keep=False))
    assert {"f_score", "clusters", "one_camera_share"} <= review.health(labels).keys()
    pair = np.flatnonzero(labels == labels.max())[:2].tolist()
    act = review.answer(*pair, same=False, author="Ann")
    assert act.rows[0].path_a == review.paths[pair[0]].removeprefix(f"{review.root}/")
    labels = review.recluster()
    assert labels[pair[0]] != labels[pair[1]] or labels[pair[0]] == -1
    assert review.map(seed=1, landmarks=20).shape == (len(review), 2)


@pytest.mark.slow
def test_features_of_another_model_are_not_taken(run, tmp_path):
    cache = tmp_path / "cache"
    options = dict(cache=cache, links=tmp_path / "links.csv")
    first = review_config(run / "tiny.py", find_checkpoint(run), **options)
    [file] = cache.iterdir()
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "images": "others"})
    again = review_config(run / "tiny.py", find_checkpoint(run), **options)
    assert np.array_equal(first.features, again.features)
    assert str(np.load(file)["images"]) == str(arrays["images"])
    with pytest.raises(InputError, match="found no ClusterHook in the config"):
        review_config("source_mbv2_syntha2synthb", **options)


@pytest.mark.slow
def test_the_next_training_obeys_and_is_held_against_the_first(run, tmp_path):
    links = tmp_path / "links.csv"
    review = Review.of_run(run, links=links)
    label = int(np.bincount(review.labels[review.labels >= 0]).argmax())
    members = review.members(label)[0]
    review.split(label, members[: len(members) // 2].tolist())
    command = next_training(run, links)
    assert command[:3] == ["mmreid", "train", str(run / "tiny.py")]
    folder = command[command.index("--work-dir") + 1]
    assert folder == str(free_folder(run)) == f"{run}-2"
    second, lone = run.with_name(f"{run.name}-2"), run.with_name("alone-2")
    assert free_folder(second) == run.with_name(f"{run.name}-3")
    assert free_folder(lone) == run.with_name("alone-2-2")
    options = dict(one.split("=", 1) for one in command[command.index("--cfg-options") + 1 :])
    options = {key: True if value == "True" else value for key, value in options.items()}
    new = tmp_path / "next"
    build_runner(load_config(command[2], {**options, "work_dir": str(new)})).train()
    rows = {row.name: row for row in compare_runs(run, new, links, review.root)}
    assert rows["cannot_violated"].before > 0 == rows["cannot_violated"].after
    assert rows["clusters"].before > 0 and rows["nmi"].after > 0
    assert next(iter(rows)).endswith(("_links", "_violated"))
    after = Review.of_run(new)
    assert after.links_path == links.resolve() and after.clusters().violated.sum() == 0
    (run / "results.json").write_text(json.dumps({"epochs": {"1": {"synthb/mAP": 12.5}}}))
    rows = {row.name: row for row in compare_runs(run, new, links, review.root)}
    assert rows["synthb/mAP"].before == 12.5 and rows["synthb/mAP"].after is not None


@pytest.fixture
def gallery(tmp_path):
    """Items of twelve people in three cameras, four images each, some with tracklets on demand."""

    def make(cameras=True, tracklets=0):
        rng = np.random.default_rng(0)
        people = np.repeat(np.arange(12), 8)
        rows = np.eye(16)[people] + 0.05 * rng.standard_normal((96, 16))
        items = Items.of(
            rows.astype(np.float32),
            [f"{number:02d}.jpg" for number in range(96)],
            cameras=[
                f"door {number // (tracklets or 1) % 3}" if cameras else "" for number in range(96)
            ],
            times=np.arange(96.0),
            tracklets=[str(number // tracklets) if tracklets else "" for number in range(96)],
            identities=[f"p{person}" if person else "" for person in people],
        )
        made = open_gallery(f"file:{tmp_path}/gallery.npz", create=GallerySettings())
        made.add(items)
        return made, people

    return make


@pytest.mark.parametrize("known", [{}, {"cameras": False}, {"tracklets": 4}, {"tracklets": 2}])
def test_a_gallery_is_clustered_by_what_is_known_of_it(gallery, tmp_path, known):
    made, _ = gallery(**known)
    review = Review.of_gallery(made, links=tmp_path / "links.csv")
    assert sorted(review.ids) == review.ids == [one for part in made.scan() for one in part.ids]
    truth = np.array([int(path[:2]) // 8 for path in review.paths])
    labels = review.labels
    assert all(len(set(truth[labels == label])) == 1 for label in range(labels.max() + 1))
    assert labels.max() + 1 == 12 or known.get("tracklets") == 4  # of which some are cut
    name = type(review.clustering.clustering.clusterer).__name__
    assert name == ("ConstrainedLinkage" if known.get("tracklets") == 4 else "JaccardDBSCAN")
    assert review.clustering.clustering.chosen == (
        "none" if "cameras" in known else review.clustering.clustering.chosen
    )
    assert (review.identities < 0).sum() == 8  # whose identity is unknown
    images = np.flatnonzero(labels < 2)
    images = images[labels[images] >= 0]
    act = review.merge([0, 1])
    labels = review.recluster()
    assert len(set(labels[images].tolist())) == 1 and len(act.rows) == len(images) - 1
    if known.get("cameras", True):
        assert review.evidence.camera_names == ["door 0", "door 1", "door 2"]


def test_stored_identities_can_be_looked_at(gallery, tmp_path):
    made, _ = gallery()
    review = Review.of_gallery(made, labels="identities", links=tmp_path / "links.csv")
    assert (review.labels == -1).sum() == 8 and len(review.clusters()) == 11


def test_a_gallery_that_cannot_be_looked_at_is_told(tmp_path):
    with open_gallery(f"file:{tmp_path}/few.npz", create=GallerySettings()) as made:
        made.add(Items.of(np.eye(3, dtype=np.float32), ["a", "b", "c"]))
        with pytest.raises(InputError, match=r"found 3 items in the gallery .* expected 4"):
            Review.of_gallery(made)


def test_labels_without_a_clusterer_stay(tmp_path):
    from made_up import make_review

    made = make_review(tmp_path)
    review = Review(
        made.features, made.paths, made.labels, made.evidence, tmp_path / "l.csv", tmp_path
    )
    with pytest.raises(InputError, match="found labels of unknown origin"):
        review.recluster()
    assert review.questions(3)
    with pytest.raises(
        InputError, match="found 30 features, 30 paths, 29 labels and evidence of 30"
    ):
        Review(made.features, made.paths, made.labels[1:], made.evidence, tmp_path / "l", tmp_path)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(run, tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[2] / "docs/own_cameras.md").read_text()
    [example] = re.findall(r"```python\n(from mmreid_uda.review.*?)```", text, re.DOTALL)
    space: dict = {}
    exec(compile(example, "example", "exec"), space)
    of_run = Review.of_run
    monkeypatch.setattr(Review, "of_run", lambda folder: of_run(folder, links=tmp_path / "l.csv"))
    space["correct"](str(run))
    said = capsys.readouterr().out
    assert "pairs of images)" in said and "must_violated" in said
    assert f"mmreid train {run / 'tiny.py'} --work-dir {run}-2 --cfg-options target.links=" in said
