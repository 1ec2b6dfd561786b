"""Check a GPU against the CPU and measure it, in the minutes given: one command, one report.

The parts, in the order of their worth: a step of every algorithm in float32 and bfloat16; short trainings with
evaluation and resume; neighbours, Jaccard distances, DBSCAN, k-means, ranking and re-ranking beside the CPU and beside
dense matrices in torch; images per second of ResNet-50 beside a bare loop; what is asked to be deterministic, twice;
two processes. A part that fails, crashes or hangs does not end the others. What the time does not suffice for is
skipped, and said to be. The report is on disk after every check.

The exit status is 1 if a check failed, broke or was not done in time, and 0 if all passed or were skipped.

Examples:
    python tools/benchmarks/gpu_report.py --out work_dirs/gpu --minutes 7
    python tools/benchmarks/gpu_report.py --out work_dirs/gpu --device cpu --quick
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

from mmreid_uda.cli import ToolParser, number, run_tool, writable_folder
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Positive

_LOG = "gpu_report.log"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=writable_folder, required=True, help="folder for the report")
    parser.add_argument(
        "--minutes", type=number(Positive), default=7.0, help="for all parts together"
    )
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="'cpu' tries the report itself out: there the CPU is compared with the CPU",
    )
    parser.add_argument("--quick", action="store_true", help="of each part the least")
    parser.add_argument(
        "--parts", nargs="+", metavar="WORD", help="only parts whose name has one of these words"
    )
    return parser.parse_args()


def main() -> None:
    """Run what fits, write as it goes."""
    args = parse_args()
    import torch
    from gpu_checks.machine import describe
    from gpu_checks.plan import run_parts
    from gpu_checks.report import MARKDOWN, Report
    from gpu_checks.suite import make_parts

    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("found no CUDA device: add --device cpu --quick to try the report out.")
    out = Path(args.out).resolve()
    with tempfile.TemporaryDirectory() as data_root:
        parts = make_parts(args.device, data_root, args.quick)
        if args.parts:
            parts = [
                part
                for part in parts
                if any(word.lower() in part.name.lower() for word in args.parts)
            ]
        if not parts:
            raise InputError(f"found no part with {args.parts} in its name, see --help.")
        out.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["python", "tools/benchmarks/gpu_report.py", *sys.argv[1:]])
        report = Report(out, describe(args.device), command)
        run_parts(parts, 60 * args.minutes, report.record, out / _LOG)
    print(f"report: {out / MARKDOWN}")
    if report.bad:
        print(f"{len(report.bad)} to look at: {'; '.join(report.bad)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
