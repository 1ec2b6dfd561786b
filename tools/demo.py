"""The demo: adapt an ImageNet network to rendered, unlabelled pedestrians with ISE, and show what it gained.

Writes ``work_dirs/demo/summary.json`` and a picture of rank lists before and after. An interrupted demo goes on where
it stopped; a finished one shows its result again.
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

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmreid_uda.visualization import RankRow


_QUERIES, _TOP = 4, 8


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


def draw(runner: Runner, path: Path) -> None:
    """Draw the rank lists of a few queries with the initial and with the trained weights."""
    from mmreid_uda.engine import extract_features
    from mmreid_uda.registry import MODELS
    from mmreid_uda.visualization import draw_rank_list, query_caption, rank_rows, write_picture
    from mmreid_uda.visualization.tiles import spread

    dataset = runner.val_dataloader.dataset
    chosen = spread(np.flatnonzero(dataset.is_query), _QUERIES).tolist()
    trained = extract_features(runner.model, dataset)
    untrained = MODELS.build(runner.cfg.model)
    untrained.init_weights()
    initial = extract_features(untrained, dataset)
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
    from mmreid_uda.config import load_config, require_tests
    from mmreid_uda.engine import build_runner

    started = time.monotonic()
    work_dir = Path(args.work_dir)
    summary_path, picture = work_dir / "summary.json", work_dir / "rank_lists.png"

    step("Rendering pedestrians (once) and reading the configuration")
    cfg = load_config(args.config)
    require_tests(cfg, "train with tools/train.py, which needs none")
    cfg.work_dir, cfg.resume = str(work_dir), True
    runner = build_runner(cfg)

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
            before=metrics(0),
            after=metrics(results["last_epoch"]),
            config=args.config,
            seconds=round(time.monotonic() - started, 1),
        )
        write_json(summary_path, summary)

    summary = json.loads(summary_path.read_text())
    step("Result on people who were not in the training images")
    for name in ("before", "after"):
        print(f"    {name:6s}  mAP {summary[name]['mAP']:5.1f}   R1 {summary[name]['R1']:5.1f}")
    print(
        f"    summary   {summary_path}\n    pictures  {picture}\n    logs      {work_dir}/*/*.log"
    )


if __name__ == "__main__":
    run_tool(main)
