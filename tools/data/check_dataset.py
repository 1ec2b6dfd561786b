"""Check a copy of a dataset before training on it: counts, broken images, leaks, and whether it can be evaluated.

Of a config, also whether the files that its training starts from are there.

Exit status 0 means no problem, 1 that problems were found and listed. Where a config starts from weights that were
trained on rendered people, or ``--start`` names them, it also tells whether the images show people who stand.

Examples:
    python tools/data/check_dataset.py market1501 --data-root data
    python tools/data/check_dataset.py configs/mmt/mmt-k500_r50_duke2market.py --no-decode
    python tools/data/check_dataset.py my_config.py target --split train
    python tools/data/check_dataset.py data/crops --start rendered://mobilenet_v2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreid_uda.cli import ToolParser, add_config_options, run_tool
from mmreid_uda.utils import InputError
from mmreid_uda.utils.choices import SPLITS

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Check a dataset, or those of a config.")
    parser.add_argument(
        "dataset",
        help="name of a dataset, path of your own images or of a CSV file, or a config or its name",
    )
    parser.add_argument(
        "name",
        nargs="?",
        help="dataset of the config: target, source, test, or its name (default: all of the config)",
    )
    parser.add_argument("--split", nargs="+", choices=SPLITS, help="look at these splits only")
    parser.add_argument("--data-root", help="folder of the datasets (default: the config's, data)")
    parser.add_argument(
        "--no-decode", action="store_true", help="look at names only, do not read the images"
    )
    parser.add_argument(
        "--start",
        metavar="ADDRESS",
        help="compare with what these weights were trained on (default: rendered:// ones of the config)",
    )
    add_config_options(parser)
    return parser.parse_args()


def config_of(dataset: str, name: str | None, options: dict[str, Any] | None) -> Config | None:
    """The config that a word of the command line names; None of a dataset, which has neither names nor options."""
    from mmreid_uda.config import load_config
    from mmreid_uda.config.index import named_model
    from mmreid_uda.datasets import DATASET_CATALOG

    is_data = dataset in DATASET_CATALOG or Path(dataset).exists()
    if dataset.endswith(".py") or (not is_data and named_model(dataset)):
        return load_config(dataset, options)
    if options or name:
        raise InputError(
            f"found {name or '--cfg-options'} for the dataset {dataset!r}, expected it with a config only; leave it "
            "out."
        )
    return None


def main() -> None:
    """Check and report."""
    args = parse_args()
    import cv2
    from dataset_checks import Finding, check, missing_weights, note, report, requested
    from mmengine.logging import MMLogger
    from start_fit import said_of, start_of

    # What datasets and OpenCV log about files is told below, once.
    MMLogger.get_instance("check_dataset", log_level="ERROR")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    datasets, findings = [], list[Finding]()
    cfg = config_of(args.dataset, args.name, args.cfg_options)
    start = start_of(cfg, args.start)
    findings += [] if cfg is None else missing_weights(cfg)
    for one in requested(args.dataset, args.name, args.split, args.data_root, cfg):
        built, found = check(*one, decode=not args.no_decode)
        if start and built and one.labels == "unlabeled":
            found.append(note(said_of(start, built[0])))
        datasets += built
        findings += found
    print(report(datasets, findings))
    if any(one.serious for one in findings):
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
