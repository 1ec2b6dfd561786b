"""Write the features of a folder, or of a dataset, to an .npz file: features, paths, fingerprint.

The file is what ``ReIDInferencer.load_gallery`` and ``tools/gallery.py`` search; of a dataset it also holds
``pid`` (integers or texts), ``camid`` and ``has_cameras``.

Examples:
    python tools/extract_features.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market crops/ --out crops.npz
    python tools/extract_features.py configs/ise/ise_r50_market.py CHECKPOINT market1501 --split query --out query.npz
    python tools/extract_features.py configs/ise/ise_r50_market.py CHECKPOINT target --split train --out train.npz
"""

from __future__ import annotations

import argparse

from mmreid_uda.cli import (
    ToolParser,
    add_image_options,
    add_inferencer_arguments,
    images_of_arguments,
    inferencer_of_arguments,
    run_tool,
    writable,
)
from mmreid_uda.utils.threads import settle_threads


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Extract re-ID features.")
    parser.add_model()
    parser.add_argument(
        "input",
        help="folder of images, an image, or a dataset (target, source, test, or its name)",
    )
    parser.add_argument(
        "--out", type=writable(".npz"), required=True, help="the .npz file to write"
    )
    add_image_options(parser)
    add_inferencer_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Extract and write."""
    args = parse_args()
    settle_threads()
    from mmreid_uda.apis import save_features

    inferencer = inferencer_of_arguments(args, args.config, args.checkpoint)
    images = images_of_arguments(args, inferencer.cfg, [args.input])
    features = inferencer.extract(images.paths)
    save_features(args.out, features, images.paths, inferencer.fingerprint, images.labels)
    print(
        f"{len(features)} features of {features.shape[1]} dimensions, fingerprint {inferencer.fingerprint[:12]}: "
        f"{args.out}"
    )


if __name__ == "__main__":
    run_tool(main)
