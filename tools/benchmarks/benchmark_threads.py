"""Measure how threads should wait for each other: a training step, alone and beside busy processes, under each policy.

Each policy has a process of its own, since OpenMP reads its environment when torch is loaded: ``spin`` is libgomp's own
way, ``passive`` what tools choose on a busy machine, ``one`` a single thread, ``tools`` what
:func:`mmreid_uda.utils.threads.settle_threads` makes of the machine as it is then. Policies take turns. The sum of the
gradients tells whether a policy changes a result: waiting must not, the number of threads does.

Example:
    python tools/benchmarks/benchmark_threads.py --busy 0 2 --json threads.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from measuring import add_output_options, show

from mmreid_uda.cli import ToolParser, at_least, run_tool
from mmreid_uda.utils.threads import settle_threads

POLICIES: dict[str, dict[str, str]] = {
    "spin": {},
    "spin 10000": dict(GOMP_SPINCOUNT="10000"),
    "passive": dict(OMP_WAIT_POLICY="PASSIVE"),
    "one": dict(OMP_NUM_THREADS="1"),
    "tools": {},
}
_CHOICES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Time a training step under each way to wait.")
    parser.add_argument(
        "--busy",
        type=at_least(0),
        nargs="+",
        default=[0, 2],
        help="numbers of busy processes beside",
    )
    parser.add_argument("--steps", type=at_least(2), default=10, help="steps of a process")
    parser.add_argument("--batch", type=at_least(2), default=64, help="images of 128 x 64 pixels")
    parser.add_argument(
        "--policies", choices=POLICIES, nargs="+", default=list(POLICIES), help="which of them"
    )
    parser.add_argument("--run", choices=POLICIES, help=argparse.SUPPRESS)
    add_output_options(parser, 3)
    return parser.parse_args()


def steps(number: int, batch: int) -> dict[str, Any]:
    """Seconds and CPU-seconds of the median step of MobileNetV2, and the sum of its gradients."""
    import torch

    from mmreid_uda.models.backbones import MobileNetV2
    from mmreid_uda.utils import keep_freed_memory

    keep_freed_memory()
    torch.manual_seed(0)
    network = MobileNetV2().train().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, 128, 64).contiguous(memory_format=torch.channels_last)
    turns = []
    for _ in range(number):
        network.zero_grad()
        started, cpu = time.perf_counter(), time.process_time()
        network(images).square().mean().backward()
        turns.append((time.perf_counter() - started, time.process_time() - cpu))
    gradients = [
        one.grad.double().abs().sum() for one in network.parameters() if one.grad is not None
    ]
    seconds, cpu_seconds = (statistics.median(column) for column in zip(*turns[1:]))
    return dict(
        seconds=seconds,
        cpu=cpu_seconds,
        threads=torch.get_num_threads(),
        policy=os.environ.get("OMP_WAIT_POLICY", ""),
        gradients=float(sum(gradients)),
    )


@contextmanager
def _busy(number: int) -> Iterator[None]:
    """Processes that count beside, each on a core of its own if there are enough."""
    command = [sys.executable, "-c", "while True: pass"]
    beside = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Number of busy processes -> policy -> figures of the median process."""
    metrics: dict[str, Any] = {}
    bare = {name: value for name, value in os.environ.items() if name not in _CHOICES}
    for number in args.busy:
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in args.policies}
        with _busy(number):
            for _ in range(args.repetitions):
                for name in args.policies:
                    words = ["--run", name, "--steps", str(args.steps), "--batch", str(args.batch)]
                    done = subprocess.run(
                        [sys.executable, __file__, *words],
                        env={**bare, **POLICIES[name]},
                        stdout=subprocess.PIPE,
                        check=True,
                    )
                    turns[name].append(json.loads(done.stdout))
        metrics[str(number)] = {
            name: dict(
                runs[0],
                seconds=statistics.median(run["seconds"] for run in runs),
                cpu=statistics.median(run["cpu"] for run in runs),
                policy=sorted({run["policy"] for run in runs}),
            )
            for name, runs in turns.items()
        }
    return metrics


def report(metrics: dict[str, Any]) -> str:
    """Lay the figures out."""
    lines = [f"{'busy':>4}  {'policy':12}{'threads':>8}{'s':>9}{'CPU-s':>9}  gradients"]
    for number, policies in metrics.items():
        for name, one in policies.items():
            chose = (
                f"  chose {', '.join(filter(None, one['policy'])) or 'nothing'}"
                if name == "tools"
                else ""
            )
            lines.append(
                f"{number:>4}  {name:12}{one['threads']:8}{one['seconds']:9.3f}{one['cpu']:9.3f}  "
                f"{one['gradients']:.9g}{chose}"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure and show, or be one of the processes."""
    args = parse_args()
    if args.run is None:
        show(args, measure(args), report)
        return
    if args.run == "tools":
        settle_threads()
    print(json.dumps(steps(args.steps, args.batch)))


if __name__ == "__main__":
    run_tool(main)
