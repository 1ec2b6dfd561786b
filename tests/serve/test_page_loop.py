"""The whole loop in a real browser: video, a gallery and a run of it, what a person says, and what that changes."""

import csv
import shlex

import numpy as np
import pytest
from browsing import Visit
from processes import REPOSITORY, run_script

from mmreid_uda.apis import ReIDInferencer
from mmreid_uda.gallery import GallerySettings, Items, content_id, open_gallery
from mmreid_uda.review import Review
from mmreid_uda.serve import Limits, ServerSettings, create_app
from mmreid_uda.utils.browser import find_chromium, open_browser, serving

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this system"),
]

VIDEO = """
data/render_synthetic.py video --cameras 2 --people 10 --rounds 1 --seconds 20 --out filmed
data/import_tracks.py filmed/c1 filmed/c1/TRACKS.txt --camera c1 --every 3 --out shop
data/import_tracks.py filmed/c2 filmed/c2/TRACKS.txt --camera c2 --every 3 --out shop
train.py cluster-contrast_mbv2_video --work-dir run --cfg-options target.data_root=shop
    evidence.disjoint_cameras=True input_size=(64,32) global_batch_size=8 iters_per_epoch=2 train_cfg.max_epochs=1
    train_dataloader.num_workers=0 train_dataloader.persistent_workers=False
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Crops of two cameras with a tracker's tracklets in ``shop``, and a run of one short epoch in ``run``."""
    folder = tmp_path_factory.mktemp("loop")
    for line in VIDEO.replace("\n    ", " ").strip().splitlines():
        script, *words = shlex.split(line)
        done = run_script(REPOSITORY / "tools" / script, *words, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def fill_gallery(folder, inferencer):
    """A gallery of all crops."""
    with open(folder / "shop/crops.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    files = [folder / "shop" / row["path"] for row in rows]
    gallery = open_gallery(
        folder / "gallery.npz", create=GallerySettings(fingerprint=inferencer.fingerprint)
    )
    gallery.add(
        Items.of(
            inferencer.extract([str(path) for path in files]),
            [str(path) for path in files],
            ids=[content_id(path) for path in files],
            cameras=[row["camid"] for row in rows],
            times=[float(row["time"]) for row in rows],
            tracklets=[row["tracklet"] for row in rows],
        )
    )
    return gallery, rows, files


def said(review):
    """Rows of links.csv."""
    with open(review.links_path, newline="") as file:
        return list(csv.DictReader(file))


def test_search_correct_cluster_again_train_again(folder, monkeypatch):
    monkeypatch.chdir(folder)
    inferencer = ReIDInferencer(next(folder.glob("run/*.py")), folder / "run", "cpu")
    gallery, rows, files = fill_gallery(folder, inferencer)
    review = Review.of_run(folder / "run")
    first = review.labels.copy()
    settings = ServerSettings(train=True, limits=Limits(rate=0))
    app = create_app(gallery, review, inferencer, settings, folder, folder / "run")
    with open_browser("this test") as browser, serving(app) as address:
        one = Visit(browser, address)
        search_by_upload(one, rows, files)
        merged = merge_two(one, review)
        left, rest = split_one(one, review)
        pairs = answer_five(one, review)
        cluster_again(one, review)
        after = review.labels
        assert len(set(after[np.isin(first, merged)].tolist())) == 1
        assert not np.isin(after[left], after[rest]).any()
        for row, (a, b) in pairs:
            assert (after[a] == after[b]) == (row["kind"] == "must")
        assert (after != first).any()
        train_again(one, folder, review)
        take_pictures(address, folder)
        assert one.problems == []


def search_by_upload(one, rows, files):
    """An image from outside finds itself, and then those of its tracklet."""
    one.wall()
    one.page.set_input_files("#files", files[0])
    one.page.get_by_text("Save CSV").wait_for()
    with one.page.expect_download() as download:
        one.button("Save CSV").click()
    found = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert found[0]["path"] == files[0].name and float(found[0]["similarity"]) > 0.999
    assert found[1]["tracklet"] == rows[0]["tracklet"]


def merge_two(one, review):
    """Tick the two worst clusters and merge them; their labels."""
    before = len(said(review)) if review.links_path.exists() else 0
    one.open("clusters")
    tiles = one.wall(2)
    one.press("Space", "ArrowRight", "Space", "m")
    one.page.get_by_text("Merged:").wait_for()
    assert tiles.locator(".badge.said").all_inner_texts() == ["merged", "merged"]
    labels = review.clusters().labels[:2].tolist()
    written = said(review)[before:]
    images = int(np.isin(review.labels, labels).sum())
    assert {row["kind"] for row in written} == {"must"} and len(written) == images - 1
    assert one.text(".notice").startswith(f"Merged: {images - 1} rows")
    return labels


def split_one(one, review):
    """Split the two images farthest from the center off the largest cluster; these images, and the others."""
    before = len(said(review))
    one.open("clusters?order=size")
    one.wall()
    one.press("Enter")
    one.page.get_by_text("Sorted from typical").wait_for()
    one.wall()
    one.press("End", "Space", "Shift+ArrowLeft")
    assert "2 images chosen" in one.text(".actions-bar")
    one.press("x")
    one.page.get_by_text("Split:").wait_for()
    table = review.clusters()
    label = int(table.labels[np.argsort(-table.sizes, kind="stable")[0]])
    images, _ = review.members(label)
    written = said(review)[before:]
    kinds = [row["kind"] for row in written]
    assert kinds.count("must") >= 1 and kinds.count("cannot") >= len(images) - 2
    return images[-2:], images[:-2]


def answer_five(one, review):
    """Answer five questions, one of them twice; the rows that were written, and their images."""
    one.open("questions")
    rows = []
    for key, text in zip(
        "sddsd", ("Same subject:", *2 * ["Different subjects:"], "Same", "Different")
    ):
        one.page.locator(".pair img").nth(1).wait_for()
        shown = [image.get_attribute("src") for image in one.page.locator(".pair img").all()]
        before = len(said(review))
        one.press(key)
        one.page.wait_for_function(
            """(old) => [...document.querySelectorAll('.pair img')]
                .every((one) => !old.includes(one.getAttribute('src')))""",
            arg=shown,
        )
        assert one.text(".notice").startswith(text)
        row = next(
            row
            for row in said(review)[before:]
            if row["kind"] == ("must" if key == "s" else "cannot")
        )
        rows.append((row, [int(address.split("/")[3]) for address in shown]))
    assert one.text(".middle .bar").endswith("5 answers")
    one.press("u")
    one.page.get_by_text("Taken back").wait_for()
    assert one.text(".middle .bar").endswith("4 answers")
    one.press("d")
    one.page.get_by_text("5 answers").wait_for()
    return rows


def cluster_again(one, review):
    """Seven acts and what was taken back are told of; cluster again, and see the figures of before and after."""
    one.open("history")
    one.page.locator(".acts tbody tr").first.wait_for()
    assert one.page.locator(".acts tbody tr.undone").count() == 1
    acts = one.page.locator(".acts tbody tr").count()
    assert acts == 9
    one.button("Cluster again").click()
    one.page.get_by_text("Clustered again, ").wait_for()
    one.page.get_by_text("After: clustered again.").wait_for()
    now = len(set(review.labels.tolist()) - {-1})
    assert f"Clustered again, {now} clusters" in one.text(".next")
    assert one.text("#facts").endswith(f"run: {now} clusters")
    figures = dict(
        row.locator("th, td").all_inner_texts()[0::2]
        for row in one.page.locator(".figures tbody tr").all()
    )
    assert figures["must-links not obeyed"] == figures["cannot-links not obeyed"] == "0 ↓"
    one.open("clusters")
    one.wall()
    assert one.page.locator(".badge.said").count() == 0


def train_again(one, folder, review):
    """A new run beside the first, whose labels were made with the links."""
    one.open("history")
    assert "target.links=" in one.text("pre.command")
    one.button("Train here").click()
    one.page.get_by_text("Trained.").wait_for(timeout=60_000)
    one.page.get_by_text("After: the run run-2.").wait_for()
    assert one.text(".next").count(f"mmreid serve --run {folder / 'run-2'}") == 1
    assert "run-3" in one.text("pre.command")
    assert one.text(".figures").count("not obeyed") == 2
    [labels] = folder.glob("run-2/pseudo_labels/*.npz")
    with np.load(labels, allow_pickle=False) as saved:
        found = dict(zip(saved["paths"].tolist(), saved["labels"].tolist()))
    new = np.array([found[path] for path in review.paths])
    links = review.links
    assert len(links) and ((new[links.first] == new[links.second]) == links.must).all()


def take_pictures(address, folder):
    """The tool that takes the pictures of the docs finds its way around."""
    tool = REPOSITORY / "tools/visualization/page_screenshots.py"
    views = ("cluster", "map", "history")
    done = run_script(tool, address, "--out", folder / "pictures", "--views", *views)
    assert done.returncode == 0, done.stderr
    sizes = {path.stem: path.stat().st_size for path in (folder / "pictures").iterdir()}
    assert set(sizes) == {f"page_{view}" for view in views} and min(sizes.values()) > 20_000
