"""Whether images show what shipped weights were trained on, people who stand: found out without labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

from mmreid_uda.apis import init_model
from mmreid_uda.apis.inferencer import PreparedImages
from mmreid_uda.checkpoint import RENDERED, start_card
from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.datasets.files import decodable
from mmreid_uda.datasets.synthetic import DomainRenderer
from mmreid_uda.engine import extract_features

__all__ = ["THRESHOLD", "likeness", "said_of", "start_of"]

THRESHOLD = 0.2
"""Likeness below which images are of another kind than those that the weights were trained on.

Measured with 256 images of each set, four networks (ImageNet's, the shipped one, and two of fewer rendered people):
standing people of three real cameras .34 to .59; vehicles .04 to .12, faces up to -.01, digits .13 to .19, pieces of
two photographs of buildings and flowers up to .07, people who lie .21 to .35 and who stand on their heads .17 to .23.
"""

_IMAGES = 256
_ROWS = 8
# Up to here a MobileNetV2 has seen 1/8 of the resolution: edges and their directions, whatever it was trained on.
_DEPTH = 5


def start_of(cfg: Config | None, address: str | None = None) -> tuple[str, str] | None:
    """The shipped weights that a training starts from.

    Args:
        cfg: A config of :func:`~mmreid_uda.config.load_config`, or None.
        address: In place of those that the config starts from. Defaults to None.

    Returns:
        Their address, and the option that takes ImageNet's in their place; None if there are none.

    Raises:
        InputError: There are no weights of that address.
    """
    runs: Any = (cfg and cfg.get("stage1")) or []
    runs = [runs] if isinstance(runs, str) else runs
    backbone = ((cfg and cfg.get("encoder")) or {}).get("backbone") or {}
    named = runs or [(backbone.get("init_cfg") or {}).get("checkpoint") or ""]
    shipped = [one for one in named if one.startswith(RENDERED)]
    if address is not None:
        start_card(address)  # which refuses others
        shipped.insert(0, address)
    if not shipped:
        return None
    if runs:
        return shipped[0], "stage1=None"
    other = shipped[0].replace(RENDERED, "bundled://")
    return shipped[0], f"encoder.backbone.init_cfg.checkpoint={other!r}"


def likeness(address: str, images: Sequence[str | np.ndarray]) -> float:
    """How much the images are built, from top to bottom, as rendered people are.

    Heads, shoulders, legs and feet make other edges, and stand at the same height in every picture. The mean of the
    early features in the middle of the pictures, minus its mean over the height, is compared; light and colors of
    cameras, which differ more between people than between people and vehicles, hardly count.

    Args:
        address: Of the weights, ``rendered://...``, of a MobileNetV2.
        images: N files, or arrays as OpenCV reads them.

    Returns:
        Cosine, -1..1.
    """
    model: Any = init_model(address, device="cpu")
    theirs = _profile(model, images)
    ours = torch.stack([_profile(model, _people(domain)) for domain in ("a", "b", "c")]).mean(0)
    return float(F.cosine_similarity(theirs, ours, dim=0))


def said_of(start: tuple[str, str], dataset: ReIDDataset) -> str:
    """The sentence about a dataset.

    Args:
        start: As of :func:`start_of`.
        dataset: Whose images are looked at, up to 256 of them.

    Returns:
        What was found and expected, and the option for images of another kind.
    """
    address, option = start
    chosen = np.linspace(0, len(dataset) - 1, min(len(dataset), _IMAGES)).astype(int)
    paths = [dataset.paths[index] for index in chosen]
    paths = [path for path in paths if decodable(path)]
    if not paths:
        return (
            f"{dataset.name} has no image that could be compared with what {address} was trained on"
        )
    found = likeness(address, paths)
    if found >= THRESHOLD:
        return (
            f"{dataset.name} looks like standing people (likeness {found:.2f}, of at least {THRESHOLD}), for which "
            f"{address} was trained"
        )
    return (
        f"{dataset.name} does not look like standing people, for whom {address} was trained: found likeness "
        f"{found:.2f} in {len(paths)} images, expected at least {THRESHOLD}; of people look whether boxes reach from "
        f"head to feet, of anything else compare it with ImageNet by {option} (docs/start.md)"
    )


@torch.no_grad()
def _profile(model: Any, images: Sequence[str | np.ndarray]) -> Tensor:
    """float32 (C·rows,): mean early features in the middle of the pictures, per row, without their mean over rows."""

    def rows(batch: Tensor) -> Tensor:
        maps = model.encoder.backbone.features[:_DEPTH](batch)
        return F.adaptive_avg_pool2d(maps, (_ROWS, 4))[..., 1:3].mean(3).flatten(1)

    prepared = PreparedImages(images, model.cfg.test_pipeline)
    features = extract_features(model, prepared, num_workers=0, update=lambda _: None, network=rows)
    mean = features.mean(0).view(-1, _ROWS)
    return (mean - mean.mean(1, keepdim=True)).flatten()


@cache
def _people(domain: str) -> list[np.ndarray]:
    """Pictures of 64 rendered people, one each, of all cameras of a domain in turn."""
    renderer = DomainRenderer(domain)
    people = []
    for number in range(64):
        rng = renderer.rng("fit", number)
        sighting = renderer.sighting(number % len(renderer.cameras), rng)
        people.append(renderer.render(renderer.identity(number), sighting, 0, rng))
    return people
