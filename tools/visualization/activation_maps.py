"""Draw where in a crop the network is active: the energy of its last map over the crop.

Example:
    python tools/visualization/activation_maps.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market crops/ \
        --out work_dirs/activation_maps.png
"""

from __future__ import annotations

import argparse

from mmreid_uda.cli import ToolParser, add_config_options, add_picture_argument, at_least, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Draw activation maps.")
    parser.add_model()
    parser.add_argument(
        "images", nargs="*", help="images and folders (default: spread over the first test set)"
    )
    parser.add_argument("--num", type=at_least(1), default=16, help="images at most")
    parser.add_argument("--device", help="such as cuda:0 (default: a GPU if there is one)")
    add_picture_argument(parser, "activation_maps.png")
    add_config_options(parser)
    return parser.parse_args()


def main() -> None:
    """Load, run the encoder, draw."""
    args = parse_args()
    import torch
    from mmengine.dataset import Compose

    from mmreid_uda.apis import init_model
    from mmreid_uda.apis.feature_set import test_images
    from mmreid_uda.apis.inputs import list_inputs
    from mmreid_uda.datasets.transforms import reid_collate
    from mmreid_uda.registry import TRANSFORMS
    from mmreid_uda.visualization import activation_energy, draw_activation_maps, write_picture
    from mmreid_uda.visualization.tiles import read_crop, spread

    model = init_model(args.config, args.checkpoint, args.device, args.cfg_options)
    if args.images:
        paths = [str(path) for path in list_inputs(args.images)]
    else:
        paths = test_images(model.cfg).paths
    paths = spread(paths, args.num)
    prepare = Compose([TRANSFORMS.build(step) for step in model.cfg.test_pipeline])
    batch = reid_collate([prepare({"img_path": path}) for path in paths])
    with torch.no_grad():
        inputs = model.data_preprocessor(batch, False)["inputs"]
    energy = activation_energy(model.tested_encoders()[0], inputs)
    write_picture(args.out, draw_activation_maps([read_crop(path) for path in paths], energy))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
