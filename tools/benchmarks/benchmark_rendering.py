"""Measure how fast the rendered domains are drawn: crops per second on one core, and what a camera's place costs.

Every repetition draws other crops, of the same people in all cameras in turn. Only CPU time of this process and its one
thread counts. Passers-by of ``world`` are drawn once each and kept, so crops before the first repetition warm up. The
domains take turns; the median over the repetitions is reported, with the slowest and the fastest of them.

Example:
    python tools/benchmarks/benchmark_rendering.py --variants a world --num-cameras 24
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from measuring import add_output_options, show, take_turns

from mmreid_uda.cli import ToolParser, at_least, run_tool

if TYPE_CHECKING:
    from mmreid_uda.datasets.synthetic import DomainRenderer

PEOPLE = 40


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--variants", nargs="+", default=["a", "world"], help="domains")
    parser.add_argument("--num-cameras", type=at_least(1), help="cameras of each domain")
    parser.add_argument("--num-images", type=at_least(1), default=60, help="crops per repetition")
    parser.add_argument("--warm-up", type=at_least(1), default=1500, help="crops before the first")
    add_output_options(parser, 9)
    return parser.parse_args()


def time_scenes(renderer: DomainRenderer) -> float:
    """Draw the places of all cameras and return the CPU seconds of one."""
    start = time.process_time()
    count = len(renderer.scenes)
    return (time.process_time() - start) / count


def time_crops(renderer: DomainRenderer, numbers: Iterator[int], num_images: int) -> float:
    """Render crops and return the CPU seconds of one.

    Args:
        renderer: Of the domain.
        numbers: Of the crops; those that are rendered are taken.
        num_images: How many.
    """
    people = [renderer.identity(number) for number in range(PEOPLE)]
    start = time.process_time()
    for number in itertools.islice(numbers, num_images):
        rng = renderer.rng("benchmark", number)
        sighting = renderer.sighting(number % len(renderer.cameras), rng)
        renderer.render(people[number % PEOPLE], sighting, 0, rng)
    return (time.process_time() - start) / num_images


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time every domain.

    Returns:
        ``rows``: per domain, crops per second (median, slowest, fastest) and milliseconds per place; and the
        circumstances.
    """
    import cv2

    from mmreid_uda.datasets.synthetic import DomainRenderer

    cv2.setNumThreads(1)
    renderers = {
        variant: DomainRenderer(variant, num_cameras=args.num_cameras) for variant in args.variants
    }
    places = {variant: time_scenes(renderer) for variant, renderer in renderers.items()}
    turns = {}
    for variant, renderer in renderers.items():
        numbers = itertools.count()
        time_crops(renderer, numbers, args.warm_up)
        turns[variant] = partial(time_crops, renderer, numbers, args.num_images)
    rows = {
        variant: {
            "crops_per_second": 1 / statistics.median(seconds),
            "slowest": 1 / max(seconds),
            "fastest": 1 / min(seconds),
            "cameras": len(renderers[variant].cameras),
            "ms_per_place": 1e3 * places[variant],
        }
        for variant, seconds in take_turns(turns, args.repetitions).items()
    }
    return {"rows": rows, "num_images": args.num_images, "repetitions": args.repetitions}


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out as a table."""
    lines = [
        f"{metrics['num_images']} crops of each domain, one thread, median of {metrics['repetitions']}",
        f"{'domain':10}{'crops per CPU second':>22}{'slowest':>10}{'fastest':>10}{'cameras':>10}{'ms per place':>14}",
    ]
    for name, row in metrics["rows"].items():
        lines.append(
            f"{name:10}{row['crops_per_second']:22.0f}{row['slowest']:10.0f}{row['fastest']:10.0f}"
            f"{row['cameras']:10}{row['ms_per_place']:14.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and show."""
    args = parse_args()
    show(args, measure(args), report)


if __name__ == "__main__":
    run_tool(main)
