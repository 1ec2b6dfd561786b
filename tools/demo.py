"""The demo: what a tracker's evidence does for labels, and what a network gains from training without any label.

Labels people in a rendered video from features alone, with tracklets and times, and from the shipped start. Then
adapts an ImageNet network to other rendered, unlabelled pedestrians with ISE. Writes ``work_dirs/demo/summary.json``
and a picture of rank lists before and after. An interrupted demo goes on where it stopped; a finished one shows its
result again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmreid_uda.cli import ToolParser, run_tool, writable_folder
from mmreid_uda.utils.files import write_json
from mmreid_uda.utils.threads import settle_threads

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmreid_uda.models.algorithms.base import BaseReID
    from mmreid_uda.visualization import RankRow


_QUERIES, _TOP = 4, 8
_VIDEO = dict(name="synthv1", num_train_ids=12, num_test_ids=2)
# For labels alone: the people whom the demo trains on were drawn by the same hand as those it has learned from.
_START = "rendered://mobilenet_v2"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="ise_mbv2_syntha", help="config file, or its name")
    parser.add_argument(
        "--work-dir",
        type=writable_folder,
        default="work_dirs/demo",
        help="folder for all that is written",
    )
    return parser.parse_args()


def step(text: str) -> None:
    """Say what comes next."""
    print(f"\n==> {text}", flush=True)


def label_video(runner: Runner) -> dict[str, float]:
    """Cluster people of a video before any training: the F of labels by what features come from and what is told."""
    from mmreid_uda.apis import init_model
    from mmreid_uda.clustering import (
        ConstrainedLinkage,
        EvidenceClustering,
        JaccardDBSCAN,
        cluster_quality,
    )
    from mmreid_uda.datasets import build_dataset
    from mmreid_uda.engine import extract_features

    images = build_dataset(
        _VIDEO, "train", data_root=runner.cfg.data_root, pipeline=runner.cfg.test_pipeline
    )
    evidence = EvidenceClustering(ConstrainedLinkage(), tracklets=True, time=True)
    initial = extract_features(initial_model(runner), images)
    start = extract_features(init_model(_START, device="cpu"), images)
    found = {}
    for name, features, clustering in (
        ("features", initial, EvidenceClustering(JaccardDBSCAN(k1=10, k2=4, eps=0.55))),
        ("evidence", initial, evidence),
        ("start", start, evidence),
    ):
        nodes = clustering.prepare(features, images.evidence)
        labels = clustering(nodes, seed=0, epoch=0)
        found[name] = cluster_quality(labels, images.pids)["f_score"]
    return found


def initial_model(runner: Runner) -> BaseReID:
    """The model with the weights that training starts from."""
    from mmreid_uda.registry import MODELS

    model = MODELS.build(runner.cfg.model)
    model.init_weights()
    return model


def draw(runner: Runner, path: Path) -> None:
    """Draw the rank lists of a few queries with the initial and with the trained weights."""
    from mmreid_uda.engine import extract_features
    from mmreid_uda.visualization import draw_rank_list, query_caption, rank_rows, write_picture
    from mmreid_uda.visualization.tiles import spread

    dataset = runner.val_dataloader.dataset
    chosen = spread(np.flatnonzero(dataset.is_query), _QUERIES).tolist()
    trained = extract_features(runner.model, dataset)
    initial = extract_features(initial_model(runner), dataset)
    rows: list[RankRow] = []
    captions = []
    for query in chosen:
        for name, features in (("before", initial), ("after", trained)):
            rows += rank_rows(
                features.cpu().numpy(),
                dataset.pids,
                dataset.camids,
                dataset.is_gallery,
                dataset.paths,
                [query],
                _TOP,
                dataset.ids,
            )
            who = query_caption(dataset.paths[query], dataset.ids[query], dataset.cameras[query])
            captions.append(f"{name}: {who}")
    write_picture(path, draw_rank_list(rows, captions))


def main() -> None:
    """Render, train, evaluate, draw, summarise."""
    args = parse_args()
    settle_threads()
    from mmreid_uda.config import load_config, require_tests
    from mmreid_uda.engine import build_runner

    started = time.monotonic()
    work_dir = Path(args.work_dir)
    summary_path, picture = work_dir / "summary.json", work_dir / "rank_lists.png"
    labels_path = work_dir / "video_labels.json"

    step("Rendering pedestrians (once) and reading the configuration")
    cfg = load_config(args.config)
    require_tests(cfg, "train with tools/train.py, which needs none")
    cfg.work_dir, cfg.resume = str(work_dir), True
    runner = build_runner(cfg)

    if not labels_path.exists():
        step("Labelling people of a rendered video, before any training")
        write_json(labels_path, label_video(runner))

    step(f"Training {args.config} on images without labels")
    runner.train()
    results = json.loads((work_dir / "results.json").read_text())
    target = next(iter(results["epochs"]["0"])).split("/")[0]

    if not picture.exists() or not summary_path.exists():
        step("Drawing rank lists")
        draw(runner, picture)

        def metrics(epoch: int) -> dict[str, float]:
            return {
                name: results["epochs"][str(epoch)][f"{target}/{name}"] for name in ("mAP", "R1")
            }

        summary = dict(
            labels=json.loads(labels_path.read_text()),
            before=metrics(0),
            after=metrics(results["last_epoch"]),
            config=args.config,
            seconds=round(time.monotonic() - started, 1),
        )
        write_json(summary_path, summary)

    summary = json.loads(summary_path.read_text())
    labels = summary["labels"]
    step("Labels of a video before any training, against the truth (pairwise F)")
    print(f"    features of ImageNet alone       {labels['features']:.2f}")
    print(f"    tracklets and time too           {labels['evidence']:.2f}")
    print(f"    the same from rendered people    {labels['start']:.2f}")
    step("Result of training on people who were not in the training images")
    for name in ("before", "after"):
        print(f"    {name:6s}  mAP {summary[name]['mAP']:5.1f}   R1 {summary[name]['R1']:5.1f}")
    print(
        f"    summary   {summary_path}\n    pictures  {picture}\n    logs      {work_dir}/*/*.log"
    )


if __name__ == "__main__":
    run_tool(main)
