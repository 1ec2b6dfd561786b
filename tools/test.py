"""Evaluate a checkpoint on the test sets of a config file.

Examples:
    python tools/test.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market/epoch_70.pth
    python tools/test.py configs/ise/ise_r50_market.py CHECKPOINT --cfg-options test=msmt17 --rerank --flip
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mmreid_uda.cli import (
    ToolParser,
    add_config_options,
    add_launcher,
    add_time_prior,
    run_tool,
    time_prior_of_arguments,
    writable,
)
from mmreid_uda.utils.files import write_json
from mmreid_uda.utils.threads import settle_threads


def parse_args() -> argparse.Namespace:
    """Read the command line; flags are OpenMMLab's."""
    parser = ToolParser(description="Evaluate a re-ID model.")
    parser.add_config()
    parser.add_argument(
        "checkpoint", nargs="?", help="checkpoint file (default: the config's initial weights)"
    )
    parser.add_argument(
        "--work-dir", help="folder for logs (default: work_dirs/<config name>/test)"
    )
    parser.add_argument("--rerank", action="store_true", help="also report k-reciprocal re-ranking")
    parser.add_argument(
        "--flip", action="store_true", help="add the features of the mirrored images"
    )
    add_time_prior(parser)
    parser.add_argument("--out", type=writable(), help="write the figures to this JSON file")
    add_config_options(parser)
    add_launcher(parser)
    # Intermixed: the checkpoint may come after flags, as tools/dist_test.sh gives it.
    return parser.parse_intermixed_args()


def main() -> None:
    """Load, build, test."""
    args = parse_args()
    settle_threads()
    from mmengine.dist import is_main_process

    from mmreid_uda.checkpoint import find_checkpoint
    from mmreid_uda.cli.launch import init_processes, num_processes
    from mmreid_uda.config import load_config, require_tests
    from mmreid_uda.engine import build_runner, unwrap
    from mmreid_uda.models.weights import load_tested

    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.checkpoint is not None and "://" not in args.checkpoint:
        find_checkpoint(args.checkpoint)  # before data are read
    cfg = load_config(args.config, args.cfg_options, num_processes(args.launcher))
    init_processes(args.launcher, cfg.get("env_cfg", {}).get("dist_cfg"))
    require_tests(cfg)
    cfg.launcher = args.launcher
    run = cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    cfg.work_dir = args.work_dir or str(Path(run, "test"))
    # mmengine would take a checkpoint that fits in part, with no more than a warning.
    cfg.load_from, cfg.resume = None, False
    # Testing needs neither training images nor their hooks.
    training = "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler", "auto_scale_lr"
    for key in training:
        cfg.pop(key, None)
    for name in ("cluster", "consistency", "epoch_seed", "finite", "progressive", "report"):
        cfg.default_hooks.pop(name, None)
    if args.rerank:
        cfg.test_evaluator.rerank = True
    if prior := time_prior_of_arguments(args):
        cfg.test_evaluator.time_prior = prior
    if args.flip:
        cfg.model.test_cfg = dict(cfg.model.get("test_cfg") or {}, flip=True)
    runner = build_runner(cfg, dump_config=False)
    model = unwrap(runner.model)
    if args.checkpoint is None:
        model.init_weights()
    else:
        load_tested(model, args.checkpoint)
        runner.logger.info(f"Loaded {args.checkpoint}")
    metrics = runner.test()
    if args.out and is_main_process():
        write_json(args.out, metrics)


if __name__ == "__main__":
    run_tool(main)
