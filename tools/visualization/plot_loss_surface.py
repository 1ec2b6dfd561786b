"""Draw the training loss around a checkpoint, along two random, filter-normalised directions (Li et al., 2018).

The network is in evaluation mode: batch normalisation uses its running statistics. Pseudo-labels, if the method has
them, are those of the checkpoint. Only what is trained moves: a teacher stays as it is. The figures are written beside
the picture, as an .npz file with ``surface`` (P, P) and ``steps`` (P,).

Example:
    python tools/visualization/plot_loss_surface.py configs/ptl/ptl_mbv2_digits.py work_dirs/ptl_mbv2_digits \
        --points 15 --out work_dirs/loss_surface.png
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Predicate

from mmreid_uda.cli import (
    ToolParser,
    add_config_options,
    add_picture_argument,
    at_least,
    number,
    run_tool,
)
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path
from mmreid_uda.utils.values import Positive

if TYPE_CHECKING:
    from mmengine.runner import Runner


# The network is in the middle.
_Odd = Annotated[
    int, Ge(3), Predicate(lambda number: number % 2 == 1), "an odd number of at least 3"
]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Draw the training loss around a checkpoint.")
    parser.add_model()
    parser.add_argument(
        "--points", type=number(_Odd), default=11, help="points along each direction"
    )
    parser.add_argument(
        "--radius", type=number(Positive), default=1.0, help="largest step, 1 = the weights"
    )
    parser.add_argument(
        "--batches", type=at_least(1), default=4, help="training batches to average over"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the directions")
    add_picture_argument(parser, "loss_surface.png")
    add_config_options(parser)
    return parser.parse_args()


def load_runner(args: argparse.Namespace) -> Runner:
    """A Runner with the weights, the labels and the hooks' state of the checkpoint, ready to draw batches.

    Raises:
        InputError: The checkpoint, or a teacher's beside it, is missing or of another network.
    """
    from mmreid_uda.config import load_config
    from mmreid_uda.engine import build_runner, unwrap
    from mmreid_uda.models.algorithms import STD, STDClassifier
    from mmreid_uda.models.weights import load_complete

    cfg = load_config(args.config, args.cfg_options)
    cfg.work_dir = str(Path(args.out).parent)
    # Hooks take pseudo-labels back from the checkpoint of a run that is resumed.
    cfg.resume, cfg.load_from = True, args.checkpoint
    runner = build_runner(cfg)
    model = unwrap(runner.model)
    load_complete(model, args.checkpoint, "give the config that the checkpoint was trained with.")
    runner.load_checkpoint(args.checkpoint)
    if isinstance(model, STD | STDClassifier):
        model.teacher.load()
    return runner


def read_batches(runner: Runner, number: int) -> list[dict[str, Any]]:
    """The first training batches, normalised, on the model's device.

    Raises:
        InputError: If an epoch has fewer.
    """
    from mmreid_uda.engine import unwrap

    prepare = unwrap(runner.model).data_preprocessor
    batches = [prepare(batch, True) for batch in itertools.islice(runner.train_dataloader, number)]
    if len(batches) < number:
        raise InputError(
            f"found {len(batches)} batches in an epoch, expected the {number} of --batches; lower it, or raise "
            "iters_per_epoch."
        )
    return batches


def draw(surface: np.ndarray, steps: np.ndarray, title: str, path: Path) -> None:
    """Contours of the loss, on a logarithmic scale of heights, with a cross at the network.

    Raises:
        InputError: No loss is finite.
    """
    from mmreid_uda.visualization import new_figure, write_picture

    figure, panels = new_figure(1, 1, (5.2, 4.4))
    panel = panels[0, 0]
    if not np.isfinite(surface).any():
        raise InputError(
            f"found no finite loss at any of {surface.size} points, expected some; take another checkpoint, or lower "
            "--radius."
        )
    finite = np.where(np.isfinite(surface), surface, np.nanmax(surface[np.isfinite(surface)]))
    low, high = max(finite.min(), 1e-6), finite.max()
    levels = np.geomspace(low, max(high, 1.01 * low), 20)
    lines = panel.contour(steps, steps, finite.T, levels=levels, cmap="viridis")
    panel.clabel(lines, fontsize=6)
    panel.plot(0, 0, "r+")
    panel.set(title=title, xlabel="first direction", ylabel="second direction")
    write_picture(path, figure)


def main() -> None:
    """Load, evaluate, draw."""
    args = parse_args()
    from mmreid_uda.engine import unwrap
    from mmreid_uda.visualization import filter_normalized_direction, loss_surface

    runner = load_runner(args)
    model = unwrap(runner.model)
    batches = read_batches(runner, args.batches)
    model.eval()

    def loss() -> float:
        values = [model.parse_losses(model(**batch, mode="loss"))[0] for batch in batches]
        return float(sum(values)) / len(values)

    steps = np.linspace(-args.radius, args.radius, args.points)
    directions = [filter_normalized_direction(model, args.seed, number) for number in (0, 1)]
    surface = loss_surface(model, loss, directions, steps.tolist())
    out = Path(args.out)
    # A file object: NumPy would append .npz to the temporary name.
    with atomic_path(out.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, surface=surface, steps=steps)
    draw(surface, steps, Path(args.config).stem, out)
    middle = args.points // 2
    print(f"loss {surface[middle, middle]:.4f} at the checkpoint, {surface.max():.4f} at most")
    print(f"wrote {out} and {out.with_suffix('.npz')}")


if __name__ == "__main__":
    run_tool(main)
