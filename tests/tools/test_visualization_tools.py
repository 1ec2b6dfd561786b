"""Pictures and reports of one tiny run, each through its command line, and the hook that drew during it."""

import importlib.util
import json
import logging
import re
import runpy
import shutil
import subprocess
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from deployment import REPOSITORY, call_tool, no_room_beyond

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.engine.hooks import VisualizationHook
from mmreid_uda.utils import InputError
from mmreid_uda.visualization import Curve
from mmreid_uda.visualization.tiles import RED

PEOPLE = dict(_delete_=True, name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)
PICTURES = ["rank_lists", "embedding", "camera_distances", "activation_maps", "cluster_collages"]
TINY = {
    "target": PEOPLE,
    "input_size": (64, 32),
    "global_batch_size": 16,
    "num_instances": 4,
    "iters_per_epoch": 2,
    "encoder.norm.samples_per_group": 8,
    "train_cfg.max_epochs": 1,
    "train_cfg.val_interval": 1,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "default_hooks.logger.interval": 1,
    "default_hooks.cluster.num_workers": 0,
    "default_hooks.cluster.clusterer": dict(eps=0.7, k1=8, k2=3, min_samples=2),
    "custom_hooks": [dict(type="VisualizationHook", interval=1, pictures=PICTURES, num_workers=0)],
}
QUIET = ("--device", "cpu", "--num-workers", "0")


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_root):
    """The folder of a run of two iterations."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    options = {**TINY, "data_root": str(data_root), "work_dir": str(folder)}
    build_runner(load_config("configs/ise/ise_mbv2_synthb.py", options)).train()
    return folder


@pytest.fixture(scope="module")
def config(run):
    [path] = run.glob("*.py")
    return path


@pytest.fixture(scope="module")
def features(run, config, tmp_path_factory):
    """Features of the target's training images."""
    from mmreid_uda.apis import FeatureSet, ReIDInferencer, save_features

    inferencer = ReIDInferencer(config, run, "cpu")
    images = FeatureSet.extract(inferencer, "train")
    path = tmp_path_factory.mktemp("features") / "train.npz"
    labels = dict(pid=images.pids, camid=images.camids)
    save_features(path, images.features, images.paths, inferencer.fingerprint, labels)
    return path


def drawn(path):
    """A picture that is not all of one colour."""
    picture = cv2.imread(str(path))
    assert picture is not None and picture.std() > 5
    return picture


def load_tool(name):
    """A tool as a module."""
    path = REPOSITORY / "tools" / "visualization" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_hook_has_drawn_every_picture(run):
    found = sorted(run.glob("*/vis_data/vis_image/*"))
    assert [path.name for path in found] == sorted(f"{name}_1.png" for name in PICTURES)
    for path in found:
        drawn(path)


def test_the_hook_refuses_what_it_cannot_draw():
    with pytest.raises(InputError, match=r"found pictures\[0\]='rank_list'"):
        VisualizationHook(["rank_list"])
    with pytest.raises(InputError, match="interval=0"):
        VisualizationHook(interval=0)


def test_no_config_draws_unless_asked():
    cfg = load_config("configs/ise/ise_mbv2_synthb.py")
    hooks = [*filter(None, cfg.default_hooks.values()), *cfg.custom_hooks]
    assert "VisualizationHook" not in {hook["type"] for hook in hooks}


def test_a_picture_that_cannot_be_drawn_does_not_stop_a_training(monkeypatch, tmp_path, caplog):
    hook = VisualizationHook(["cluster_collages", "activation_maps"], interval=1)
    drawn = []

    def refuse(*args):
        raise InputError("found no cluster")

    monkeypatch.setattr(hook, "_cluster_collages", refuse)
    monkeypatch.setattr(hook, "_activation_maps", lambda *args: np.zeros((2, 2, 3), np.uint8))
    logger = logging.getLogger("drawing")
    visualizer = SimpleNamespace(add_image=lambda name, *args: drawn.append(name))
    runner = SimpleNamespace(epoch=0, logger=logger, visualizer=visualizer, val_loop=None)
    hook.after_train_epoch(runner)
    assert drawn == ["activation_maps"]
    assert "has not drawn cluster_collages: found no cluster" in caplog.text
    with pytest.raises(InputError, match="found no test set to draw activation_maps of"):
        hook.before_train(runner)


def test_rank_lists_of_a_checkpoint(run, config, tmp_path, capsys):
    out = tmp_path / "ranks.png"
    call_tool(
        "tools/visualization/rank_lists.py", config, run, "--queries", 2, "--topk", 3, "--worst",
        "--out", out, *QUIET,
    )  # fmt: skip
    # Two rows with a caption each; a query, a wider gap, three images with three lines below.
    height, width, _ = drawn(out).shape
    assert (
        height == 2 * (22 + 136 + 37 + 6) and width >= 4 * (72 + 6) + 6
    )  # or as wide as a caption
    printed = capsys.readouterr().out
    assert re.search(r"^\w+\.jpg, identity \d+, camera \d+, AP \d+\.\d %$", printed, re.MULTILINE)
    assert re.search(r"^ +1  (right|wrong) +\d+  .*\.jpg$", printed, re.MULTILINE)


def test_embeddings_of_a_file_with_supports(run, features, tmp_path, capsys):
    out, labels = tmp_path / "plane.png", run / "pseudo_labels" / "epoch_001.npz"
    tool = "tools/visualization/embedding.py"
    call_tool(tool, features, "--labels", labels, "--supports", 0.5, "--groups", 5, "--out", out)
    drawn(out)
    for wrong, words in (
        (("--supports", 0.5), "found no --labels"),
        (
            ("--supports", "nan", "--labels", labels),
            "--supports: found 'nan', expected a number from 0 to 1",
        ),
        (
            ("--supports", 1.5, "--labels", labels),
            "--supports: found '1.5', expected a number from 0 to 1",
        ),
    ):
        with pytest.raises(SystemExit):
            call_tool(tool, features, *wrong, "--out", out)
        assert words in capsys.readouterr().err
    # Without a single cluster all images are drawn, as outliers.
    with np.load(labels) as saved:
        np.savez(
            tmp_path / "none.npz", paths=saved["paths"], labels=np.full(len(saved["paths"]), -1)
        )
    call_tool(tool, features, "--labels", tmp_path / "none.npz", "--out", out)


def test_camera_distances_of_a_file(features, tmp_path):
    out = tmp_path / "cameras.png"
    call_tool("tools/visualization/camera_distances.py", features, "--out", out)
    # 6.4 x 5.2 inches: one panel of pairs within cameras, one of pairs across.
    assert drawn(out).shape == (624, 768, 3)


def test_activation_maps_of_files(run, config, features, tmp_path):
    with np.load(features) as saved:
        images = saved["paths"][:3]
    out = tmp_path / "maps.png"
    tool = "tools/visualization/activation_maps.py"
    call_tool(tool, config, run, *images, "--device", "cpu", "--out", out)
    # Three pairs in a row.
    assert drawn(out).shape[0] == 192 + 8 + 6


def test_collages_of_a_run(run, config, tmp_path, capsys):
    out = tmp_path / "clusters.png"
    labels = run / "pseudo_labels" / "epoch_001.npz"
    call_tool("tools/visualization/cluster_collages.py", config, labels, "--out", out)
    assert re.search(r"\d+ clusters are pure, \d+ identities split", capsys.readouterr().out)
    drawn(out)


def test_curves_of_two_runs(run, tmp_path):
    shutil.copytree(run, tmp_path / "again", ignore=shutil.ignore_patterns("*.pth"))
    out = tmp_path / "curves.png"
    call_tool("tools/visualization/curves.py", run, tmp_path / "again", "--out", out)
    both = drawn(out)
    call_tool("tools/visualization/curves.py", run, "--curves", "*/mAP", "--out", out)
    one = drawn(out)
    assert one.size < both.size  # a panel for each curve


def test_a_disk_that_fills_leaves_no_half_of_a_picture_or_page(run, tmp_path, capsys):
    for tool, words, room in (
        ("visualization/curves.py", (run, "--out", tmp_path / "p.png"), 5000),
        ("visualization/curves.py", (run, "--out", tmp_path / "p.png"), 1000),
        ("analysis/report.py", (run, "--out", tmp_path / "p.html"), 5000),
    ):
        with no_room_beyond(room), pytest.raises(SystemExit) as stopped:
            call_tool(f"tools/{tool}", *words)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and f"{words[-1]}' cannot be written" in error
        assert error.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_a_loss_that_is_finite_nowhere_is_a_sentence(tmp_path):
    draw = load_tool("plot_loss_surface").draw
    surface, steps = np.full((3, 3), np.nan), np.linspace(-1, 1, 3)
    with pytest.raises(InputError, match="no finite loss at any of 9 points"):
        draw(surface, steps, "title", tmp_path / "p.png")
    surface[1, 1], surface[0, 0] = 2.0, np.inf
    draw(surface, steps, "title", tmp_path / "p.png")
    assert drawn(tmp_path / "p.png").any()


def test_runs_of_one_name_are_two_curves(run, tmp_path, monkeypatch):
    curves = load_tool("curves")
    assert curves.run_names(["a/demo", "b/demo/", "c/other"]) == ["a/demo", "b/demo", "c/other"]
    assert curves.run_names(["x/a/demo", "x/b", "x/b"]) == ["demo", "b", "b"]
    monkeypatch.chdir(run)
    assert curves.run_names(["."]) == [run.name]


def test_wrong_files_and_numbers_are_one_sentence(run, config, features, tmp_path, capsys):
    (tmp_path / "noise.npz").write_bytes(bytes(range(256)))
    folder, out = "tools/visualization", ("--out", tmp_path / "p.png")
    for arguments, words in (
        (("embedding.py", features, "--labels", features), "labels is not a file in the archive"),
        (("cluster_collages.py", config, run / "results.json"), "holds no pseudo-labels"),
        (("cluster_collages.py", config, tmp_path / "noise.npz"), "not written by NumPy"),
        (
            ("activation_maps.py", config, run, "--num", 0),
            "--num: found '0', expected a whole number",
        ),
        (
            ("rank_lists.py", features, features, "--queries", 0),
            "--queries: found '0', expected a whole",
        ),
    ):
        tool, *rest = arguments
        with pytest.raises(SystemExit) as stopped:
            call_tool(f"{folder}/{tool}", *rest, *out)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and words in error and "allow_pickle" not in error


def test_clusterings_of_a_file_are_swept(features, tmp_path, capsys):
    out, tool = tmp_path / "sweep.png", "tools/analysis/analyze_clusters.py"
    call_tool(tool, features, "--eps", 0.4, 0.6, "--k1", 8, "--k2", 3, "--rho", 0.02, "--out", out)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:5] == ["eps", "min_samples", "k1", "k2", "clusters"]
    assert printed[1].split()[0] == "0.4" and printed[2].split()[0] == "0.6"
    choice = r"recommended with min_samples 4: k1 \d+, k2 \d, eps 0\.\d+ \(score .*; its F-score is 0\.\d{3}, the "
    assert any(re.match(choice, line) for line in printed)
    radius = r"k1 8, k2 3: eps 0\.\d{3} by the rule of rho 0\.02"
    assert any(re.fullmatch(radius, line) for line in printed)
    drawn(out)
    call_tool(tool, features, "--num-clusters", 6, 12, "--out", out)
    assert capsys.readouterr().out.splitlines()[0].split()[:2] == ["num_clusters", "clusters"]


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    """The page of the run."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    call_tool(
        "tools/analysis/report.py", run, "--checkpoint", run, "--queries", 2, "--out", out, *QUIET
    )
    return out


@pytest.mark.slow
def test_a_report_holds_everything_and_refers_to_nothing(report):
    page = report.read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == [
        "Results", "Curves", "Clusters", "Rank lists", "Worst queries", "Configuration", "Environment",
    ]  # fmt: skip
    for text in (
        "before training",
        "last, the result",
        "before epoch 1",
        "PyTorch: ",
        "synthb/mAP",
    ):
        assert text in page
    assert "samples_per_group=8" in page
    images = re.findall(r'<img alt="[^"]+" src="data:image/(png|jpeg);base64,[^"]+">', page)
    assert images == ["png", "png", "jpeg", "jpeg"] and page.count("<img") == 4
    # Nothing that a browser would fetch.
    markup = re.sub("<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert not re.search(r"<script|<link|<iframe|@import|url\(|https?:|href=|srcset=", markup)


def test_the_report_of_a_stopped_run_says_so(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    results = tmp_path / "run" / "results.json"
    content = json.loads(results.read_text())
    last = max(map(int, content["epochs"]))
    assert content["max_epochs"] == last
    results.write_text(json.dumps({**content, "max_epochs": 70}))
    call_tool("tools/analysis/report.py", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"last; unfinished: {last} of 70 epochs" in page and "last, the result" not in page


def test_the_report_of_a_run_without_evaluation_says_so(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    results = tmp_path / "run" / "results.json"
    content = json.loads(results.read_text())
    assert content["labels"].keys() == {"0"} and content["labels"]["0"]["images"] == 76
    results.write_text(json.dumps({**content, "epochs": {}}))
    call_tool("tools/analysis/report.py", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "No evaluation was done; the last checkpoint is the result." in page


def test_a_report_says_what_labels_are_warned_of_and_how_figures_ranked_the_epochs():
    life_section = runpy.run_path(str(REPOSITORY / "tools/analysis/report.py"))["life_section"]
    columns = dict(
        images=[100] * 5,
        clusters=[9, 8, 7, 6, 5],
        outliers=[10] * 5,
        outlier_ratio=[0.1] * 5,
        largest=[20, 20, 20, 80, 80],
        f_score=[0.5, 0.6, 0.7, 0.8, 0.75],
    )
    curves = {
        f"cluster/{name}": Curve("epoch", dict(enumerate(map(float, values))))
        for name, values in columns.items()
    }
    results = {epoch: {"a/mAP": 10.0 + epoch, "a/R1": 1.0} for epoch in (0, 2, 3, 4, 5)}
    text = " ".join(re.sub("<[^>]+>", " ", life_section(curves, results)).split())
    assert "From epoch 4 on: one cluster holds 89% of the images" in text
    assert "before epoch 5 5 10 0.100 80 0.750" in text
    assert text.endswith("f_score a/mAP clusters -0.90 -1.00 largest 0.87 0.89")


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_report(report, tmp_path):
    shot = tmp_path / "shot.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = ["--window-size=1200,4000", f"--user-data-dir={tmp_path / 'profile'}"]
    subprocess.run(
        [BROWSER, *flags, *size, f"--screenshot={shot}", report.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    picture = drawn(shot)
    assert picture.shape == (4000, 1200, 3)
    # The line of the curves (matplotlib's first colour), and the frames of wrong matches: pictures are painted.
    for color in ((180, 119, 31), RED):
        assert (abs(picture.astype(int) - color).max(2) < 12).sum() > 500


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool("tools/analysis/report.py", tmp_path)
    assert "found 0 config files in" in capsys.readouterr().err
