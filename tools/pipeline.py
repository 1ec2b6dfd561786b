"""Train both stages of domain adaptation with one command: the source runs a config starts from, then the config.

The key ``stage1`` of the config names the runs. Those that are finished are used as they are, the others are trained
first. A command that was interrupted and is given again goes on where it stopped.

Examples:
    python tools/pipeline.py configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py
    python tools/pipeline.py configs/abmt/abmt_r50_duke2market.py --processes 4 --amp
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmreid_uda.cli import (
    ToolParser,
    at_least,
    parse_options,
    run_command,
    run_tool,
    training_command,
)
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import last_epoch

if TYPE_CHECKING:
    from mmengine.config import Config


TOOLS = Path(__file__).parent


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """Read the command line; what is not ours goes to tools/train.py."""
    parser = ToolParser(
        description="Train a config and, before it, the source runs it starts from.",
        epilog="Further flags, such as --amp or --seed, are given to tools/train.py in the last stage.",
    )
    parser.add_config("config of the second stage, or its name")
    parser.add_argument("--processes", type=at_least(1), default=1, help="GPUs, or CPU processes")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="key=value pairs for the second stage"
    )
    parser.add_argument(
        "--stage1-options", nargs="+", default=[], help="key=value pairs for the first stage"
    )
    return parser.parse_known_args()


def is_finished(run: Path, cfg: Config) -> bool:
    """Whether the last epoch of a config has been reported in this folder."""
    results = run / "results.json"
    if not results.is_file():
        return False
    return last_epoch(results) >= cfg.train_cfg.max_epochs


def train(arguments: list[str], options: list[str], processes: int) -> None:
    """Run tools/train.py, or go on with an unfinished run of it; end as it does if it fails."""
    config, *flags = arguments
    flags = ["--resume", *flags, *(["--cfg-options", *options] if options else [])]
    command = training_command(TOOLS, config, flags, processes)
    print("==>", " ".join(command), flush=True)
    status = run_command(command)
    if status:
        sys.exit(status)


def main() -> None:
    """Train what is missing of the first stage, then the second."""
    args, flags = parse_args()
    from mmreid_uda.checkpoint import training_arguments
    from mmreid_uda.config import load_config

    # Loaded as a training does: what is wrong with the second stage is said before the first one.
    cfg = load_config(args.config, parse_options(args.cfg_options), args.processes)
    runs = cfg.get("stage1") or []
    for run in [runs] if isinstance(runs, str) else runs:
        if "://" in run or Path(run).is_file():
            continue
        arguments = training_arguments(run)
        if arguments is None:
            raise InputError(
                f"found the run {run!r} in stage1, expected a checkpoint or a folder that is named like a config of "
                "this repository (with -seed<n> or not): train it with tools/train.py, or correct stage1."
            )
        folder = Path(run).parent if Path(run).suffix else Path(run)
        if is_finished(folder, load_config(arguments[0], parse_options(args.stage1_options))):
            print(f"==> {folder} is finished", flush=True)
        else:
            train(arguments, args.stage1_options, args.processes)
    train([args.config, *flags], args.cfg_options, args.processes)


if __name__ == "__main__":
    run_tool(main, resume="the same command goes on")
