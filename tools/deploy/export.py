"""Export a model: as ONNX for a service of your own, for BoxMOT, for Roboflow's reid, or as a folder for a hub.

``--to onnx``: uint8 BGR crops in, unit features out, normalisation inside the graph. Beside ``model.onnx`` stands
``model.json``, which says how a deployment decodes and resizes; ``run_onnx.py`` does. What is exported to one of the
others is compared with the model before this ends, on rendered crops unless ``--verify`` names images.

Examples:
    mmreid export configs/ise/ise_r50_market.py CHECKPOINT model.onnx --verify crops/
    mmreid export configs/mmt/mmt-k500_r50_duke2market.py CHECKPOINT model.onnx --fp16
    mmreid export rendered://mobilenet_v2 tracker.onnx --to boxmot
    mmreid export rendered://mobilenet_v2 start/ --to pretrained
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmreid_uda.cli import (
    ToolParser,
    add_config_options,
    at_least,
    run_tool,
    writable,
    writable_folder,
)
from mmreid_uda.utils import InputError
from mmreid_uda.utils.packages import import_package

if TYPE_CHECKING:
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.export_check import Reader


# Target -> what OUT has to be.
TARGETS: dict[str, Callable[[str], str]] = {
    "onnx": writable(".onnx"),
    "boxmot": writable(".onnx"),
    "roboflow": writable_folder,
    "pretrained": writable_folder,
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_model()
    parser.add_argument("out", help="the .onnx file, or of roboflow and pretrained the folder")
    parser.add_argument(
        "--to",
        choices=TARGETS,
        default="onnx",
        help="what for: run_onnx.py, BoxMOT, Roboflow's reid, or ReIDInferencer.from_pretrained",
    )
    parser.add_argument("--fp16", action="store_true", help="compute in float16 (onnx alone)")
    parser.add_argument(
        "--verify",
        nargs="+",
        metavar="IMAGES",
        help="compare with PyTorch on these images and folders; fails if features differ",
    )
    parser.add_argument("--threads", type=at_least(0), default=0, help="of onnxruntime; 0: all")
    add_config_options(parser)
    args = parser.parse_args()
    try:
        TARGETS[args.to](args.out)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument out: {error}")
    if args.fp16 and args.to != "onnx":
        parser.error(f"found --fp16 with --to {args.to}, expected it with --to onnx: leave it out")
    return args


def main() -> None:
    """Export and verify."""
    args = parse_args()
    from mmreid_uda.apis import ReIDInferencer

    inferencer = ReIDInferencer(args.config, args.checkpoint, "cpu", options=args.cfg_options)
    EXPORTS[args.to](inferencer, args)


def to_onnx(inferencer: ReIDInferencer, args: argparse.Namespace) -> None:
    """Write a graph and what ``run_onnx.py`` needs to know; compare where images are named."""
    from mmreid_uda.apis.deploy import export_onnx

    description = export_onnx(inferencer.model, args.out, args.fp16)
    print(f"{args.out} and {description}")
    if not args.verify:
        return
    import_package("onnxruntime", "--verify", "'mmreid_uda[deploy]'", "leave --verify out")
    from run_onnx import DeploymentError, OnnxExtractor

    tolerance, hint = (5e-3, "export without --fp16") if args.fp16 else (1e-4, "do not deploy it")
    try:
        compare(inferencer, OnnxExtractor(args.out, args.threads), args, tolerance, True, hint)
    except (
        DeploymentError
    ) as error:  # such as features that are not finite, where float16 overflows
        raise InputError(str(error)) from error


def to_boxmot(inferencer: ReIDInferencer, args: argparse.Namespace) -> None:
    """Write a graph and what BoxMOT needs to know, and compare."""
    from mmreid_uda.apis.export_boxmot import BoxMOTReader, export_boxmot

    print(f"{args.out} and {export_boxmot(inferencer.model, args.out)}")
    compare(inferencer, BoxMOTReader(args.out, args.threads), args)


def to_roboflow(inferencer: ReIDInferencer, args: argparse.Namespace) -> None:
    """Write a folder of Roboflow's reid, and compare."""
    from mmreid_uda.apis.export_roboflow import RoboflowReader, export_roboflow

    export_roboflow(inferencer.model, args.out)
    print(args.out)
    compare(inferencer, RoboflowReader(args.out), args)


def to_pretrained(inferencer: ReIDInferencer, args: argparse.Namespace) -> None:
    """Write a folder whose features are the very same, and compare."""
    import numpy as np

    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.export_pretrained import export_pretrained

    export_pretrained(inferencer.model, args.out)
    print(args.out)
    crops = crops_of(args)
    again = ReIDInferencer.from_pretrained(args.out, "cpu")
    if not np.array_equal(inferencer(crops), again(crops)):
        raise InputError(
            f"features of '{args.out}' are not those of the model on {len(crops)} images, expected the very same: do "
            "not give it away; let the method tested_encoders of its algorithm name all that extract_feat calls."
        )
    print(f"features of {len(crops)} images are bit for bit those of the model")


def crops_of(args: argparse.Namespace) -> list[Any]:
    """The images of ``--verify``, or rendered ones."""
    from mmreid_uda.apis import list_inputs
    from mmreid_uda.apis.export_check import rendered_crops

    return list_inputs(args.verify) if args.verify else rendered_crops()


def compare(
    inferencer: ReIDInferencer, reader: Reader, args: argparse.Namespace, *options: Any
) -> None:
    """Say how far features of what was exported are from the model's.

    Args:
        inferencer: The model.
        reader: What was exported.
        args: Of the command line.
        *options: Tolerance and further arguments of :func:`compare_exported`.

    Raises:
        InputError: They differ by more than rounding.
    """
    from mmreid_uda.apis.export_check import compare_exported

    crops = crops_of(args)
    found = compare_exported(inferencer, reader, crops, *(options or (1e-4,)))
    print(
        f"largest distance to PyTorch, 1 - cosine, of {len(crops)} images of the size of the input: "
        f"{found.conversion:.1e}; of the images as they are the cosine is {found.mean:.4f} on average and at least "
        f"{found.least:.4f}"
    )


EXPORTS = {
    "onnx": to_onnx,
    "boxmot": to_boxmot,
    "roboflow": to_roboflow,
    "pretrained": to_pretrained,
}

if __name__ == "__main__":
    run_tool(main)
