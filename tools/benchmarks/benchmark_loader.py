"""Measure the loader beside the PIL pipeline of the papers' code: images per second on one core.

All read the same JPEG crops and make training batches: bicubic resize, flip, pad and crop, erasing. The PIL pipeline
ends in normalised float batches, as in the papers' workers; torchvision's own transforms do, too, where they are
installed. Ours ends in uint8 batches, decoded by OpenCV and resized by OpenCV ("cv2", the small recipes) or to the
pixels of Pillow ("pillow", the published ones); what is left to the device (normalisation and the filling of the erased
boxes) is measured apart, here on the CPU, and added in the column "with preprocessor". With a cache, ours decodes and
keeps every image in a first pass ("cold") and then takes it out of memory ("warm"). Freed memory is kept, as in a
training on a CPU. Only CPU time of this process and its one thread counts, so that other load on the machine matters
little. The pipelines take turns; the median over the repetitions is reported.

Example:
    python tools/benchmarks/benchmark_loader.py --json loader.json
"""

from __future__ import annotations

import argparse

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, at_least, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--images", help="folder of your own crops (default: crops made for the occasion)"
    )
    parser.add_argument("--num-images", type=at_least(1), default=512, help="images per repetition")
    parser.add_argument(
        "--crop-size",
        type=int,
        nargs=2,
        default=(128, 64),
        metavar=("H", "W"),
        help="of the made crops",
    )
    parser.add_argument("--batch-size", type=at_least(1), default=64, help="images per batch")
    add_output_options(parser, 9)
    return parser.parse_args()


def main() -> None:
    """Measure and show."""
    args = parse_args()
    from loader_costs import measure, report

    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
