"""Weights trained on rendered people, which lie in this package: no download, no other wheel, nobody's picture."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from mmreid_uda.utils import InputError

from .reading import find_state_dict, load_from_local

__all__ = ["RENDERED", "halved", "load_from_rendered", "start_card"]

RENDERED = "rendered://"
"""How the addresses of these weights begin."""

_STARTS = Path(__file__).parent / "starts"
# Larger networks, which a command makes: name -> config.
_COMMANDS = {"resnet18": "start_r18_synthworld", "resnet50": "start_r50_synthworld"}


def start_card(address: str) -> dict[str, Any]:
    """What ``tools/deploy/publish_model.py`` has noted beside a file of weights.

    Args:
        address: Such as ``rendered://mobilenet_v2``.

    Returns:
        ``config``, whose network it is; ``sha256`` and ``bytes`` of the file; ``seed``, ``epoch``, ``images``,
        ``commit``, ``torch`` and ``mmreid_uda``, which made it; ``fingerprint`` of its features; ``rounding``, the
        largest distance (1 - cosine) that half precision makes.

    Raises:
        InputError: There are no such weights, or their card is damaged.
    """
    name = address.removeprefix(RENDERED)
    cards = {path.stem: path for path in sorted(_STARTS.glob("*.json"))}
    if name in cards:
        try:
            card = json.loads(cards[name].read_text(encoding="utf-8"))
        except ValueError:
            card = {}
        if not {"sha256", "config"} <= set(card):
            raise InputError(
                f"{cards[name]} is damaged, expected the card of {address}: install mmreid_uda again, or restore the "
                "file."
            )
        return card
    there = ", ".join(f"{RENDERED}{one}" for one in cards) or "none"
    if name in _COMMANDS:
        raise InputError(
            f"{address} is not shipped, for its size (there is: {there}): make it with "
            f"`mmreid train {_COMMANDS[name]}`, and name its run, work_dirs/{_COMMANDS[name]}, in stage1 or "
            "init_cfg.checkpoint."
        )
    raise InputError(
        f"{address} is unknown, expected one of those that have a card in {_STARTS} ({there}): give another address, "
        "such as in stage1 or init_cfg.checkpoint, or install mmreid_uda again where files are missing."
    )


def load_from_rendered(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load weights that were trained on rendered people and come with this package.

    ``rendered://mobilenet_v2`` is a whole encoder: ``encoder.backbone.init_cfg`` takes the backbone of it, ``stage1``
    and tools that ask for a checkpoint take the neck, too. Half precision on disk, float32 here.

    Args:
        filename: ``rendered://mobilenet_v2``.
        map_location: See ``torch.load``.

    Returns:
        ``state_dict`` and ``meta``, as a published checkpoint has them.

    Raises:
        InputError: There are no such weights, or their file is not the one that was published.
    """
    card = start_card(filename)
    path = _STARTS / f"{filename.removeprefix(RENDERED)}.pth"
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    if digest != card["sha256"]:
        raise InputError(
            f"{path} has SHA-256 {digest[:12]}, expected {card['sha256'][:12]}: it is damaged, or missing; install "
            "mmreid_uda again, or restore the file."
        )
    checkpoint = load_from_local(str(path), map_location)
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in find_state_dict(checkpoint).items()
    }
    return {**checkpoint, "state_dict": state}


def halved(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights as they are shipped: matrices and kernels in half precision.

    Vectors stay as they are: batch-norm statistics and scales are 3 % of a network, spread over many orders of
    magnitude, and act on whole channels.

    Args:
        state: Names -> tensors.

    Returns:
        The same names, float16 where a float32 tensor has two dimensions or more.
    """
    return {
        name: tensor.half() if tensor.dtype == torch.float32 and tensor.dim() > 1 else tensor
        for name, tensor in state.items()
    }
