"""Train a model from a config file, on one process or on several.

Examples:
    python tools/train.py configs/ise/ise_r50_market.py
    python tools/train.py --model ise-pli_r50_msmt17
    tools/dist_train.sh configs/ise/ise_r50_market.py 4 --amp
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mmreid_uda.cli import ToolParser, add_config_options, add_launcher, run_tool
from mmreid_uda.utils.threads import settle_threads

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    """Read the command line; flags are OpenMMLab's."""
    parser = ToolParser(description="Train a re-ID model.")
    parser.add_config()
    parser.add_argument(
        "--work-dir", help="folder for checkpoints and logs (default: work_dirs/<config name>)"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="continue from this checkpoint, or, without a value, from the latest one in the work dir",
    )
    parser.add_argument(
        "--amp", action="store_true", help="train in mixed precision (default: float32)"
    )
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate with the global batch"
    )
    parser.add_argument(
        "--seed",
        type=int,
        help="seed of everything random (default: the config's randomness.seed, mostly 1)",
    )
    parser.add_argument(
        "--deterministic", action="store_true", help="deterministic kernels on the GPU"
    )
    add_config_options(parser)
    add_launcher(parser)
    return parser.parse_args()


def apply_flags(cfg: Config, args: argparse.Namespace) -> None:
    """Write the flags into the config."""
    from mmreid_uda.config import check_settings

    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    if args.amp:
        cfg.optim_wrapper = dict(cfg.get("optim_wrapper") or {}, type="AmpOptimWrapper")
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get("auto_scale_lr") or {}, enable=True)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get("randomness", {}), seed=args.seed)
    if args.deterministic:
        cfg.randomness = dict(cfg.get("randomness", {}), deterministic=True)
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    check_settings(cfg)


def main() -> None:
    """Load, build, train."""
    args = parse_args()
    settle_threads()
    from mmengine.dist import is_main_process

    from mmreid_uda.checkpoint import RENDERED, start_card
    from mmreid_uda.cli.launch import init_processes, num_processes
    from mmreid_uda.config import load_config
    from mmreid_uda.engine import build_runner, nothing_to_train
    from mmreid_uda.utils import InputError

    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.config.startswith(RENDERED):
        made_by = start_card(args.config)["config"]
        raise InputError(
            f"found {args.config} to be trained, expected a config: `mmreid train {made_by}` makes such weights anew, "
            f"and stage1={args.config} starts a config of yours from them."
        )
    cfg = load_config(args.config, args.cfg_options, num_processes(args.launcher))
    apply_flags(cfg, args)
    init_processes(args.launcher, cfg.get("env_cfg", {}).get("dist_cfg"))
    if said := nothing_to_train(cfg):
        if is_main_process():
            print(said)
        return
    build_runner(cfg).train()


if __name__ == "__main__":
    run_tool(main, resume="continue from the last checkpoint with --resume")
