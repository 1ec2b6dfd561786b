"""Make a checkpoint ready to be given away: the tested weights alone, and the start of its hash in its name.

Classifiers, memories, students, optimiser and log stay behind. The file loads wherever the checkpoint did for testing:
``tools/test.py``, ``ReIDInferencer``, ``export_onnx.py``. Training does not resume from it.

Example:
    python tools/deploy/publish_model.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market published/
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from mmreid_uda import __version__
from mmreid_uda.cli import ToolParser, add_config_options, run_tool, writable_folder
from mmreid_uda.utils import InputError


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Publish a re-ID model.")
    parser.add_argument("config", help="config file, or its name")
    parser.add_argument("checkpoint", help="checkpoint file, or folder of a run")
    parser.add_argument(
        "out_dir", type=writable_folder, help="folder to write <config>-<hash>.pth to"
    )
    add_config_options(parser)
    return parser.parse_args()


def slim_checkpoint(model: Any, checkpoint: Path) -> dict[str, Any]:
    """What is published.

    Args:
        model: With the weights of the checkpoint.
        checkpoint: Its file, for the epoch.

    Returns:
        ``state_dict`` (the tested weights) and ``meta``: config, fingerprint, input size, epoch, version.
    """
    from mmreid_uda.apis import model_fingerprint
    from mmreid_uda.checkpoint import load_from_local
    from mmreid_uda.models.weights import tested_state

    # Cloned: a view would be saved with the whole storage that it looks at.
    state = {name: tensor.detach().clone() for name, tensor in tested_state(model).items()}
    given = load_from_local(str(checkpoint), "cpu").get("meta") or {}
    meta = dict(
        config=Path(model.cfg.filename).stem,
        fingerprint=model_fingerprint(model, model.cfg),
        epoch=given.get("epoch"),
        mmreid_uda_version=__version__,
    )
    return {"state_dict": state, "meta": meta}


def check_features(config: str, options: dict[str, Any] | None, model: Any, slim: Path) -> None:
    """Compare features of noise before and after: an algorithm may test more than it says.

    Raises:
        InputError: They differ.
    """
    import torch

    from mmreid_uda.apis import init_model
    from mmreid_uda.models.weights import tested_state

    width, height = next(step["scale"] for step in model.cfg.test_pipeline if "scale" in step)
    noise = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    published = init_model(config, slim, "cpu", options)
    with torch.no_grad():
        same = torch.equal(model(noise), published(noise))
    if not same:
        raise InputError(
            f"features of {type(model).__name__} change when only {len(tested_state(model))} tensors are kept, "
            "expected all that features depend on; let its method tested_encoders name every module that "
            "extract_feat calls."
        )


def main() -> None:
    """Strip, check and name."""
    args = parse_args()
    from mmreid_uda.apis import init_model
    from mmreid_uda.checkpoint import find_checkpoint, write_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    model: Any = init_model(args.config, checkpoint, "cpu", args.cfg_options)
    out_dir = Path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir) as folder:
        slim = Path(folder, "slim.pth")
        write_checkpoint(slim_checkpoint(model, checkpoint), str(slim))
        check_features(args.config, args.cfg_options, model, slim)
        digest = hashlib.sha256(slim.read_bytes()).hexdigest()
        published = out_dir / f"{Path(model.cfg.filename).stem}-{digest[:8]}.pth"
        os.replace(slim, published)
    before, after = (path.stat().st_size / 2**20 for path in (checkpoint, published))
    print(f"{published}: {after:.1f} MiB of {before:.1f} MiB")


if __name__ == "__main__":
    run_tool(main)
