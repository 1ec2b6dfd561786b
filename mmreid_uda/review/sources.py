"""Where a review comes from: a run, a config with its start, or a gallery."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mmreid_uda.apis import ReIDInferencer, load_pseudo_labels
from mmreid_uda.apis.feature_set import target_images
from mmreid_uda.checkpoint import find_checkpoint, find_labels, load_from_local, run_config
from mmreid_uda.config import load_config
from mmreid_uda.datasets import ReIDDataset
from mmreid_uda.datasets.ids import sorted_ids
from mmreid_uda.engine.hooks import ClusterHook
from mmreid_uda.gallery import Gallery, Items
from mmreid_uda.registry import HOOKS
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError
from mmreid_uda.utils.files import open_arrays, write_arrays

from .reclustering import Reclustering
from .review import Review

__all__ = ["FEWEST", "review_config", "review_gallery", "review_run"]

FEWEST = 4
"""Images of a gallery that are worth being clustered."""
LINKS = "links.csv"
"""The file of links where a config or a gallery names none."""
# The recipe whose clusterer looks at a gallery, by what is known of its items.
_RECIPES = {
    "video": "cluster-contrast_mbv2_video",
    "cameras": "cluster-contrast_mbv2_cameras",
    "photos": "cluster-contrast_mbv2_photos",
}


def review_run(
    work_dir: str | Path,
    *,
    links: str | Path | None = None,
    device: str | torch.device | None = None,
    num_workers: int = 0,
) -> Review:
    """Look at a run: features by its last checkpoint, its last pseudo-labels, its clusterer with its state.

    Args:
        work_dir: Folder of a run of ``tools/train.py`` with a ``ClusterHook``.
        links: File of links; None for that of the config, or ``links.csv`` beside the images.
        device: As for :class:`ReIDInferencer`.
        num_workers: Loading processes.

    Returns:
        The review. Features are kept in ``WORK_DIR/review``, under the fingerprint of the model and of the images.

    Raises:
        InputError: There is no run, or one without pseudo-labels.
    """
    work_dir = Path(work_dir).expanduser()
    config, labels, checkpoint = (
        run_config(work_dir),
        find_labels(work_dir),
        find_checkpoint(work_dir),
    )
    return review_config(
        config,
        checkpoint,
        labels=labels,
        links=links,
        cache=work_dir / "review",
        name=work_dir.name,
        device=device,
        num_workers=num_workers,
    )


def review_config(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    options: dict[str, Any] | None = None,
    labels: str | Path | None = None,
    links: str | Path | None = None,
    cache: str | Path | None = None,
    name: str = "",
    device: str | torch.device | None = None,
    num_workers: int = 0,
) -> Review:
    """Look at the target of a config.

    Args:
        config: Path or name.
        checkpoint: As for :class:`ReIDInferencer`; None takes the weights that a training starts from.
        options: Dotted keys -> values merged into the config.
        labels: Pseudo-labels of a run; None clusters.
        links: File of links; None for that of the config, or ``links.csv`` beside the images.
        cache: Folder to keep features in; None keeps none.
        name: For people. Defaults to the name of the target.
        device: As for :class:`ReIDInferencer`.
        num_workers: Loading processes.

    Returns:
        The review.

    Raises:
        InputError: The config has no target or no clusterer; or as for :class:`ReIDInferencer`.
    """
    inferencer = ReIDInferencer(
        config, checkpoint, device, options=options, num_workers=num_workers
    )
    cfg = inferencer.cfg
    hook = _cluster_hook(cfg, str(config))
    dataset = target_images(cfg)
    features = _features(inferencer, dataset, None if cache is None else Path(cache))
    seed = cfg.get("randomness", {}).get("seed")
    if checkpoint is not None and (path := Path(checkpoint)).is_file():
        saved = load_from_local(str(path))
        if state := (saved.get("pseudo_labels") or {}).get("clusterer"):
            hook.clustering.load_state_dict(state)
        seed = (saved.get("meta") or {}).get("seed", seed)
    clustering = Reclustering(
        hook.clustering,
        hook.refiners,
        seed=(1 if seed is None else seed) if hook.seed is None else hook.seed,
        epoch=_next_epoch(labels),
        answers={one: getattr(dataset, one, None) for one in hook.clustering.requires},
    )
    if links is None:
        links = dataset.links_path or os.path.join(dataset.data_root, LINKS)
    known = load_pseudo_labels(labels, dataset.paths) if labels else np.full(len(dataset), -1)
    review = Review(
        features,
        dataset.paths,
        known,
        dataset.evidence,
        links,
        dataset.root,
        clustering,
        dataset.true_labels,
        name or dataset.name,
    )
    if labels is None:
        review.recluster()
    return review


def review_gallery(
    gallery: Gallery,
    *,
    labels: Literal["clusters", "identities"] = "clusters",
    links: str | Path | None = None,
    seed: int = 1,
) -> Review:
    """Look at what a gallery holds now.

    The clusterer is that of the recipe in ``configs/own`` for what is known of the items: tracklets, several cameras,
    or neither. Images are in the order of their identifiers, :attr:`Review.ids`.

    Args:
        gallery: With four items at least.
        labels: ``'clusters'`` (default), or ``'identities'``, those that are stored with the items.
        links: File of links; None for ``links.csv`` in the gallery's folder.
        seed: Of the clusterer.

    Returns:
        The review.

    Raises:
        InputError: There are too few items; or the gallery has no folder, and ``links`` is not given.
    """
    parts = list(gallery.scan())
    found = sum(len(part) for part in parts)
    if found < FEWEST:
        raise InputError(
            f"found {found} items in the gallery {gallery.url!r}, expected {FEWEST} at least to be clustered: add some "
            "with mmreid gallery add."
        )
    items = Items.joined(parts)
    assert items.features is not None
    if links is None:
        if gallery.folder is None:
            raise InputError(
                f"found the gallery {gallery.url!r}, which has no folder of its own for {LINKS}, expected a file to "
                "write links to: name one with links."
            )
        links = gallery.folder / LINKS
    cameras = _numbered(items.cameras)
    tracklets = _numbered(
        np.array(
            [
                f"{camera}\t{one}" if one else ""
                for camera, one in zip(items.cameras, items.tracklets)
            ]
        )
    )
    names = sorted_ids(set(items.cameras.tolist()) - {""})
    evidence = Evidence(cameras, items.times, tracklets, camera_names=names or None)
    identities = _numbered(items.identities)
    kinds = _kinds(evidence)
    review = Review(
        items.features,
        items.paths,
        identities,
        evidence,
        links,
        Path(links).resolve().parent,
        _of_recipe(kinds[0], seed),
        identities,
        gallery.url,
    )
    review.ids = items.ids
    try:
        review.recluster(keep=labels == "clusters")
    except InputError:
        if len(kinds) == 1:
            raise
        # All tracklets are too short to tell how much one subject varies.
        review.clustering = _of_recipe(kinds[1], seed)
        review.recluster(keep=labels == "clusters")
    return review


def _kinds(evidence: Evidence) -> list[str]:
    """The recipes that fit to what is known, the best first."""
    _, sizes = np.unique(evidence.tracklets[evidence.tracklets >= 0], return_counts=True)
    several = len(np.unique(evidence.cameras[evidence.cameras >= 0])) > 1
    kinds = ["cameras" if several else "photos"]
    return ["video", *kinds] if (sizes > 1).any() else kinds


def _of_recipe(kind: str, seed: int) -> Reclustering:
    """The clusterer of a recipe for own images."""
    hook = _cluster_hook(load_config(_RECIPES[kind]), _RECIPES[kind])
    return Reclustering(hook.clustering, hook.refiners, seed=seed)


def _numbered(names: np.ndarray) -> np.ndarray:
    """Numbers of texts (N,) as datasets give them, int64, -1 for ''."""
    number_of = {one: number for number, one in enumerate(sorted_ids(set(names.tolist()) - {""}))}
    return np.array([number_of.get(one, -1) for one in names.tolist()], np.int64)


def _cluster_hook(cfg: Any, name: str) -> ClusterHook:
    """The hook that a training with this config clusters by."""
    hook = (cfg.get("default_hooks") or {}).get("cluster")
    built = None if hook is None else HOOKS.build(dict(hook))
    if not isinstance(built, ClusterHook):
        raise InputError(
            f"found no ClusterHook in the config {name}, which so makes no pseudo-labels to look at: give a config "
            "with `target` and `clusterer`, or a run of one."
        )
    return built


def _next_epoch(labels: str | Path | None) -> int:
    """The epoch that comes after the one of a file of labels, 0-based; the first where there is none."""
    found = None if labels is None else re.search(r"epoch_(\d+)", Path(labels).stem)
    return int(found[1]) if found else 0


def _features(inferencer: ReIDInferencer, dataset: ReIDDataset, cache: Path | None) -> np.ndarray:
    """Features of a dataset, from the cache where they lie there."""
    names = dict(model=inferencer.fingerprint, images=dataset.fingerprint)
    path = None if cache is None else cache / f"features_{inferencer.fingerprint[:12]}.npz"
    if path is not None and path.is_file():
        with open_arrays(
            path, "holds no features of a review", "expected none: remove it"
        ) as arrays:
            if all(str(arrays[name]) == value for name, value in names.items()):
                return arrays["features"]
    features = inferencer.extract(dataset)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, dict(features=features, **names), compressed=False)
    return features
