"""Write the features of a folder, or of a data set, to an .npz file: features, paths, fingerprint.

The file is what ``ReIDInferencer.load_gallery`` and ``tools/search_gallery.py`` search; of a data set it also holds
``pid`` (integers or texts), ``camid`` and ``has_cameras``.

Examples:
    python tools/extract_features.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market crops/ --out crops.npz
    python tools/extract_features.py configs/ise/ise_r50_market.py CHECKPOINT market1501 --split query --out query.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmreid_uda.apis import (
    ReIDInferencer,
    ToolParser,
    add_inferencer_arguments,
    inferencer_of_arguments,
    list_inputs,
    run_tool,
    save_features,
    writable,
)
from mmreid_uda.datasets import DATASET_CATALOG, ReIDDataset, build_dataset
from mmreid_uda.datasets.base_reid import SPLITS
from mmreid_uda.utils import InputError


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Extract re-ID features.")
    parser.add_argument("config", help="config file, or its name")
    parser.add_argument("checkpoint", help="checkpoint file, or folder of a run")
    parser.add_argument("input", help="folder of images, an image, or the name of a data set")
    parser.add_argument(
        "--out", type=writable(".npz"), required=True, help="the .npz file to write"
    )
    parser.add_argument("--split", choices=SPLITS, help="split of a data set (default: gallery)")
    add_inferencer_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Extract and write."""
    args = parse_args()
    inferencer = inferencer_of_arguments(args, args.config, args.checkpoint)
    labels: dict[str, np.ndarray] = {}
    if Path(args.input).exists():
        if args.split:
            raise InputError(
                f"found --split {args.split} for the files in {args.input!r}, expected it with a data set only; leave "
                "it out."
            )
        paths = [str(path) for path in list_inputs(args.input)]
        features = inferencer(paths)
    else:
        dataset = find_dataset(inferencer, args.input, args.split or "gallery")
        features, paths = inferencer.extract(dataset), dataset.paths
        # Texts stay texts: the numbers of one split alone are other people's in another.
        pids = dataset.pids if dataset.pids.dtype != object else dataset.pids.astype(str)
        labels = {
            "pid": pids,
            "camid": dataset.camids,
            "has_cameras": np.array(dataset.has_cameras),
        }
    save_features(args.out, features, paths, inferencer.fingerprint, labels)
    print(
        f"{len(features)} features of {features.shape[1]} dimensions, fingerprint {inferencer.fingerprint[:12]}: "
        f"{args.out}"
    )


def find_dataset(inferencer: ReIDInferencer, name: str, split: str) -> ReIDDataset:
    """Build a split of the catalogue's data set ``name`` with the test pipeline."""
    if name not in DATASET_CATALOG:
        raise InputError(
            f"found neither a file or folder {name!r} nor a data set of this name, expected a path or one of "
            f"{', '.join(DATASET_CATALOG)}."
        )
    cfg = inferencer.cfg
    return build_dataset(name, split, data_root=cfg.data_root, pipeline=cfg.test_pipeline)


if __name__ == "__main__":
    run_tool(main)
