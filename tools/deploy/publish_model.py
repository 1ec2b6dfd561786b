"""Make a checkpoint ready to be given away: the tested weights alone, and the start of its hash in its name.

Classifiers, memories, students, optimiser and log stay behind. The file loads wherever the checkpoint did for testing:
``tools/test.py``, ``ReIDInferencer``, ``export.py``. Training does not resume from it.

``--half`` keeps kernels and matrices in half precision. ``--name`` names the file itself, and writes beside it a card,
``NAME.json``: its SHA-256, and what made it. So are the weights of ``rendered://`` made, from a run of configs/start.

Examples:
    python tools/deploy/publish_model.py configs/ise/ise_r50_market.py work_dirs/ise_r50_market published/
    python tools/deploy/publish_model.py configs/ise/ise_r50_market.py CHECKPOINT published/ --half --name shop
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from mmreid_uda import __version__
from mmreid_uda.cli import ToolParser, add_config_options, run_tool, writable_folder
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import atomic_path, repository, write_json

# Largest distance (1 - cosine) between the features of one image that rounding may make.
TOLERANCE = 1e-3


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(description="Publish a re-ID model.")
    parser.add_model()
    parser.add_argument(
        "out_dir", type=writable_folder, help="folder to write <config>-<hash>.pth to"
    )
    parser.add_argument("--half", action="store_true", help="half precision, but for vectors")
    parser.add_argument(
        "--name", type=plain_name, help="write NAME.pth, and NAME.json with its hash and its making"
    )
    add_config_options(parser)
    return parser.parse_args()


def plain_name(text: str) -> str:
    """A word that can name a file and stand in an address."""
    if not re.fullmatch(r"\w[\w-]*", text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected letters, digits, _ and -")
    return text


def slim_checkpoint(model: Any, checkpoint: Path, half: bool) -> dict[str, Any]:
    """What is published.

    Args:
        model: With the weights of the checkpoint; with ``half`` they are rounded.
        checkpoint: Its file, for the epoch.
        half: Whether kernels and matrices are kept in half precision.

    Returns:
        ``state_dict`` (the tested weights) and ``meta``: config, fingerprint, input size, epoch, version.
    """
    from mmreid_uda.apis import model_fingerprint
    from mmreid_uda.checkpoint import halved
    from mmreid_uda.models.weights import tested_state

    # Cloned: a view would be saved with the whole storage that it looks at.
    state = {name: tensor.detach().clone() for name, tensor in tested_state(model).items()}
    if half:
        state = halved(state)
        model.load_state_dict(state, strict=False)
    given = training_meta(checkpoint)
    meta = dict(
        config=Path(model.cfg.filename).stem,
        fingerprint=model_fingerprint(model, model.cfg),
        epoch=given.get("epoch"),
        mmreid_uda_version=__version__,
    )
    return {"state_dict": state, "meta": meta}


def training_meta(checkpoint: Path) -> dict[str, Any]:
    """What a training has noted in its checkpoint."""
    from mmreid_uda.checkpoint import load_from_local

    return load_from_local(str(checkpoint), "cpu").get("meta") or {}


def features_of_noise(model: Any) -> Any:
    """Features of two images of noise, float32 (2, D)."""
    import torch

    width, height = next(step["scale"] for step in model.cfg.test_pipeline if "scale" in step)
    noise = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(noise)


def check_features(config: str, options: dict[str, Any] | None, model: Any, slim: Path) -> None:
    """Compare features of noise before and after: an algorithm may test more than it says.

    Raises:
        InputError: They differ.
    """
    import torch

    from mmreid_uda.apis import init_model
    from mmreid_uda.models.weights import tested_state

    published = init_model(config, slim, "cpu", options)
    if not torch.equal(features_of_noise(model), features_of_noise(published)):
        raise InputError(
            f"features of {type(model).__name__} change when only {len(tested_state(model))} tensors are kept, "
            "expected all that features depend on; let its method tested_encoders name every module that "
            "extract_feat calls."
        )


def rounding(before: Any, after: Any) -> float:
    """The largest distance, 1 - cosine, between two features of an image.

    Raises:
        InputError: It is larger than ``TOLERANCE``, or something is not finite.
    """
    import torch.nn.functional as F

    distance = float((1 - F.cosine_similarity(before.double(), after.double())).max())
    if not distance <= TOLERANCE:
        raise InputError(
            f"features differ by up to {distance:.1e} (1 - cosine) in half precision, expected at most "
            f"{TOLERANCE:.0e}; publish without --half."
        )
    return distance


def as_bytes(content: dict[str, Any]) -> bytes:
    """A checkpoint as a file holds it; equal content gives equal bytes, since a stream has no name to put into it."""
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def card(slim: dict[str, Any], content: bytes, checkpoint: Path, distance: float) -> dict[str, Any]:
    """What ``NAME.json`` says: the file, the run, and the code that made them."""
    import torch

    given = training_meta(checkpoint)
    return dict(
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        config=slim["meta"]["config"],
        epoch=given.get("epoch"),
        seed=given.get("seed"),
        images=given.get("images"),
        commit=commit(),
        torch=torch.__version__,
        mmreid_uda=__version__,
        fingerprint=slim["meta"]["fingerprint"],
        rounding=distance,
    )


def commit() -> str | None:
    """Of the checkout that this file lies in; None without one, ``-dirty`` behind it if files differ from it."""
    root = repository()
    if not (root / ".git").exists():  # an installed package may lie below somebody else's
        return None
    words = ["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        said = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def main() -> None:
    """Strip, round, check and name."""
    args = parse_args()
    from mmreid_uda.apis import init_model
    from mmreid_uda.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(args.checkpoint)
    model: Any = init_model(args.config, checkpoint, "cpu", args.cfg_options)
    out_dir = Path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    exact = features_of_noise(model)
    content = slim_checkpoint(model, checkpoint, args.half)
    distance = rounding(exact, features_of_noise(model))
    with tempfile.TemporaryDirectory(dir=out_dir) as folder:
        slim = Path(folder, "slim.pth")
        written = as_bytes(content)
        with atomic_path(slim) as temporary:
            temporary.write_bytes(written)
        check_features(args.config, args.cfg_options, model, slim)
        digest = hashlib.sha256(written).hexdigest()
        published = out_dir / f"{args.name or f'{Path(model.cfg.filename).stem}-{digest[:8]}'}.pth"
        if args.name:
            write_json(published.with_suffix(".json"), card(content, written, checkpoint, distance))
        os.replace(slim, published)
    before, after = (path.stat().st_size / 2**20 for path in (checkpoint, published))
    print(f"{published}: {after:.1f} MiB of {before:.1f} MiB")


if __name__ == "__main__":
    run_tool(main)
