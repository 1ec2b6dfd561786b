"""Export a model to ONNX: uint8 BGR crops in, unit features out, normalisation inside the graph.

Beside ``model.onnx`` stands ``model.json``, which says how a deployment decodes and resizes; ``run_onnx.py`` does.

Examples:
    python tools/deploy/export_onnx.py configs/ise/ise_r50_market.py CHECKPOINT model.onnx --verify crops/
    python tools/deploy/export_onnx.py configs/mmt/mmt-k500_r50_duke2market.py CHECKPOINT model.onnx --fp16
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from mmreid_uda.cli import ToolParser, add_config_options, at_least, run_tool, writable
from mmreid_uda.utils import InputError
from mmreid_uda.utils.packages import import_package

if TYPE_CHECKING:
    from mmreid_uda.apis import ReIDInferencer


# Largest distance (1 - cosine) between the features of one crop that counts as equal.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Export a re-ID model to ONNX.")
    parser.add_model()
    parser.add_argument("out", type=writable(".onnx"), help="the .onnx file to write")
    parser.add_argument("--fp16", action="store_true", help="compute in float16")
    parser.add_argument(
        "--verify",
        nargs="+",
        metavar="IMAGES",
        help="compare with PyTorch on these images and folders; fails if features differ",
    )
    parser.add_argument("--threads", type=at_least(0), default=0, help="of --verify; 0: all")
    add_config_options(parser)
    return parser.parse_args()


def verify(inferencer: ReIDInferencer, model: str, images: list[str], threads: int) -> float:
    """Compare the exported files, run as a deployment runs them, with PyTorch.

    Args:
        inferencer: The model in PyTorch.
        model: The ``.onnx`` file.
        images: Files and folders.
        threads: Of onnxruntime.

    Returns:
        The largest distance, 1 - cosine, between the two features of an image.

    Raises:
        InputError: It is larger than the precision explains, features are not finite, or onnxruntime is missing.
    """
    from mmreid_uda.apis.inputs import list_inputs

    import_package("onnxruntime", "--verify", "'mmreid_uda[deploy]'", "leave --verify out")
    from run_onnx import DeploymentError, OnnxExtractor

    paths = [str(path) for path in list_inputs(images)]
    # A cosine near 1 needs more digits than float32 has.
    ours = inferencer.extract(paths).astype(np.float64)
    try:
        extractor = OnnxExtractor(model, threads)
        theirs = extractor(paths).astype(np.float64)
    except (
        DeploymentError
    ) as error:  # such as features that are not finite, where float16 overflows
        raise InputError(str(error)) from error
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    worst = float(1 - (np.einsum("nd,nd->n", ours, theirs) / lengths).min())
    precision = extractor.description["precision"]
    if worst > TOLERANCES[precision]:
        raise InputError(
            f"features of the {precision} graph and of PyTorch differ by up to {worst:.1e} (1 - cosine) on "
            f"{len(paths)} images, expected at most {TOLERANCES[precision]:.0e}; "
            f"{'export without --fp16' if precision == 'float16' else 'do not deploy this graph'}."
        )
    return worst


def main() -> None:
    """Export and verify."""
    args = parse_args()
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.deploy import export_onnx

    inferencer = ReIDInferencer(args.config, args.checkpoint, "cpu", options=args.cfg_options)
    description = export_onnx(inferencer.model, args.out, args.fp16)
    print(f"{args.out} and {description}")
    if args.verify:
        worst = verify(inferencer, args.out, args.verify, args.threads)
        print(f"largest distance to PyTorch, 1 - cosine: {worst:.1e}")


if __name__ == "__main__":
    run_tool(main)
