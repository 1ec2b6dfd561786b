"""Check a copy of a dataset before training on it: counts, broken images, leaks, and whether it can be evaluated.

Exit status 0 means no problem, 1 that problems were found and listed.

Examples:
    python tools/data/check_dataset.py market1501 --data-root data
    python tools/data/check_dataset.py configs/mmt/mmt-k500_r50_duke2market.py --no-decode
    python tools/data/check_dataset.py my_config.py target --split train
    python tools/data/check_dataset.py data/crops
"""

from __future__ import annotations

import argparse
import sys

from mmreid_uda.cli import ToolParser, add_config_options, run_tool
from mmreid_uda.utils.choices import SPLITS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Check a dataset, or those of a config.")
    parser.add_argument(
        "dataset",
        help="name of a dataset, path of your own images or of a CSV file, or a config file",
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
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Check and report."""
    args = parse_args()
    import cv2
    from dataset_checks import Finding, check, report, requested
    from mmengine.logging import MMLogger

    # What datasets and OpenCV log about files is told below, once.
    MMLogger.get_instance("check_dataset", log_level="ERROR")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    datasets, findings = [], list[Finding]()
    for one in requested(args.dataset, args.name, args.split, args.data_root, args.cfg_options):
        built, found = check(*one, decode=not args.no_decode)
        datasets += built
        findings += found
    print(report(datasets, findings))
    if any(one.serious for one in findings):
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
