r"""Measure what exporting a model costs: cosine to its features and change of mAP, for each target.

Each target of ``mmreid export`` is run with its own resizing. Roboflow's reid builds networks of timm alone: of a model
with another backbone, ``--timm NAME`` takes the same weights under timm's names, tested before the neck; that network
is then the reference of its row.

Examples:
    python tools/benchmarks/benchmark_export.py rendered://mobilenet_v2 --data synthd --timm mobilenetv2_100
    python tools/benchmarks/benchmark_export.py CONFIG CHECKPOINT --data crops/ --pattern '(?P<pid>\d+)_c(?P<camid>\d+)'
    python tools/benchmarks/benchmark_export.py CONFIG CHECKPOINT --data market1501 --data-root data
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmreid_uda.cli import ToolParser, add_config_options, run_tool, writable
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import repository, write_json

if TYPE_CHECKING:
    import numpy as np

    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.export_check import Reader
    from mmreid_uda.datasets import ReIDTestDataset


TARGETS = ("onnx", "boxmot", "roboflow", "pretrained")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description=__doc__.split("\n", 1)[0])
    parser.add_model()
    parser.add_argument("--data", required=True, help="dataset of the catalogue, or a folder")
    parser.add_argument("--data-root", default="data", help="folder of the catalogue's datasets")
    parser.add_argument("--pattern", help="what file names of a folder tell, as in docs/data.md")
    parser.add_argument("--to", nargs="+", choices=TARGETS, default=TARGETS, help="targets")
    parser.add_argument("--timm", metavar="NAME", help="the backbone's name in timm, for roboflow")
    parser.add_argument("--json", type=writable(), help="write the figures to this file")
    add_config_options(parser)
    return parser.parse_args()


def read_data(args: argparse.Namespace) -> ReIDTestDataset:
    """Queries and gallery of the data."""
    from mmreid_uda.datasets import ReIDTestDataset

    said: Any = args.data
    if args.pattern:
        said = dict(type="FolderReIDDataset", data_root=args.data, pattern=args.pattern)
    return ReIDTestDataset([said], data_root=args.data_root)


def mean_ap(features: np.ndarray, data: ReIDTestDataset) -> float:
    """Mean average precision in percent."""
    from mmreid_uda.evaluation.functional import evaluate_rank

    both = [
        column[side]
        for column in (features, data.pids, data.camids)
        for side in (data.is_query, data.is_gallery)
    ]
    return 100 * evaluate_rank(*both).mAP


def under_timm(inferencer: ReIDInferencer, args: argparse.Namespace) -> ReIDInferencer:
    """The same weights as a network of timm, which defines its layers in the same order; tested before the neck."""
    from mmreid_uda.apis import ReIDInferencer

    resize = inferencer.cfg.test_pipeline[1]
    options = {
        **(args.cfg_options or {}),
        "stage1": None,
        "encoder": dict(
            _delete_=True, type="ReIDEncoder", backbone=dict(type="TimmBackbone", name=args.timm)
        ),
        "input_size": resize["scale"][::-1],
        "resize_backend": "pillow",
        "model.test_cfg": dict(feature="pooled"),
    }
    twin = ReIDInferencer(args.config, None, "cpu", options=options)
    ours = inferencer.model.encoder.backbone.state_dict()
    theirs = twin.model.encoder.backbone.state_dict()
    if [one.shape for one in ours.values()] != [one.shape for one in theirs.values()]:
        raise InputError(
            f"found {len(theirs)} tensors of {args.timm} and {len(ours)} of the model's backbone, expected the same "
            "shapes in the same order: name the same network with --timm, or leave roboflow out of --to."
        )
    twin.model.encoder.backbone.load_state_dict(dict(zip(theirs, ours.values())))
    return twin


def exported(inferencer: ReIDInferencer, target: str, folder: Path) -> Reader:
    """Export to a target, and give what runs it."""
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.deploy import export_onnx
    from mmreid_uda.apis.export_boxmot import BoxMOTReader, export_boxmot
    from mmreid_uda.apis.export_pretrained import export_pretrained
    from mmreid_uda.apis.export_roboflow import RoboflowReader, export_roboflow

    sys.path.append(str(repository() / "tools" / "deploy"))
    from run_onnx import OnnxExtractor

    write, read, out = {
        "onnx": (export_onnx, OnnxExtractor, folder / "onnx.onnx"),
        "boxmot": (export_boxmot, BoxMOTReader, folder / "boxmot.onnx"),
        "roboflow": (export_roboflow, RoboflowReader, folder / "roboflow"),
        "pretrained": (export_pretrained, ReIDInferencer.from_pretrained, folder / "pretrained"),
    }[target]
    write(inferencer.model, out)
    return read(out)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Export to every target, and compare.

    Returns:
        Rows: ``target``; ``conversion``, ``mean`` and ``least`` of :class:`Agreement`; ``map`` of the model and
        ``map_exported``, in percent.
    """
    from mmreid_uda.apis import ReIDInferencer
    from mmreid_uda.apis.export_check import compare_exported

    data = read_data(args)
    model = ReIDInferencer(args.config, args.checkpoint, "cpu", options=args.cfg_options)
    rows = []
    for target in args.to:
        reference = under_timm(model, args) if target == "roboflow" and args.timm else model
        with tempfile.TemporaryDirectory() as folder:
            reader = exported(reference, target, Path(folder))
            agreement = compare_exported(reference, reader, data.paths, 1e-4)
            before, after = (mean_ap(run(data.paths), data) for run in (reference, reader))
        row = dict(target=target, **agreement._asdict(), map=before, map_exported=after)
        rows.append(row)
        print(
            f"{target:10}  1 - cosine of the conversion {agreement.conversion:.1e}  cosine {agreement.mean:.4f} (least "
            f"{agreement.least:.4f})  mAP {before:.2f} -> {after:.2f} ({after - before:+.2f})",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure, print, write."""
    args = parse_args()
    rows = measure(args)
    if args.json:
        write_json(args.json, {"data": args.data, "config": args.config, "rows": rows})


if __name__ == "__main__":
    run_tool(main)
