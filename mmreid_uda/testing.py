"""What a test of a method starts from: its model with classes in place, and a random batch that fits its config."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor

from mmreid_uda.neighbors import jaccard_graph
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample, TrainingImages
from mmreid_uda.utils.choices import DOMAIN_NAMES

__all__ = ["build_model", "random_batch"]

_IMAGES, _CLASSES = 12, 4


def build_model(cfg: Config, seed: int = 0) -> Any:
    """Build the model of a config, untrained, and give it four classes, as the hooks do before training.

    Of twelve random images ``cluster_features`` chooses the features, and their pseudo-labels go to ``on_relabel``,
    with the distances of all of them. Features are random numbers, as many as the network gives. A model that trains
    on labels alone gets the number of people through ``on_source``.

    Args:
        cfg: A loaded config (:func:`load_config`).
        seed: Seed of torch's global generator, from which weights are drawn.

    Returns:
        The algorithm in training mode.
    """
    torch.manual_seed(seed)
    model: Any = MODELS.build(cfg.model)
    if not cfg.default_hooks.get("cluster"):
        model.on_source(_CLASSES)
        return model
    encoder = model.encoder
    width = encoder.feat_dim if model.feature == "pooled" else encoder.embed_dim
    labels = torch.arange(_IMAGES) % _CLASSES
    images = TrainingImages(
        None, [None] if cfg.train_dataloader.dataset.get("source") else [], labels
    )
    drawn, size = F.normalize(torch.randn(_IMAGES, width), dim=1), _image_size(cfg)

    @torch.no_grad()
    def extract(network: Any, dataset: Any) -> Tensor:
        given = width if network is model else network(torch.zeros(2, 3, *size)).shape[1]
        # Networks of equal dimensions agree.
        return drawn if given == width else F.normalize(torch.randn(_IMAGES, given), dim=1)

    features = model.eval().cluster_features(extract, images)
    model.train()
    model.on_relabel(
        PseudoLabelState(
            0,
            labels,
            features,
            cluster=lambda features: labels,
            distances=lambda limit: jaccard_graph(drawn, k1=6, k2=3, max_distance=limit),
        )
    )
    return model


def random_batch(cfg: Config, seed: int = 0) -> tuple[Tensor | tuple[Tensor, ...], ReIDDataSample]:
    """Make what ``model(inputs, samples, mode="loss")`` takes.

    Args:
        cfg: A loaded config; its sources, sampler and pipeline say which domains and how many views there are.
        seed: Seed of the images.

    Returns:
        Four normalised images of each domain, float32 (B, 3, 64, 32), or of the size that the encoder is built for; or
        a tuple of such views. And their samples, two labels per domain, each seen by two cameras.
    """
    generator = torch.Generator().manual_seed(seed)
    sampler = cfg.train_dataloader.get("batch_sampler", {})
    drawn = sampler.get("domains", DOMAIN_NAMES)
    dataset = cfg.train_dataloader.dataset
    domains = [d for d, name in enumerate(DOMAIN_NAMES) if dataset.get(name) and name in drawn]
    domains = domains or [0]  # images of other kinds: one set, with labels
    views = [
        step.num_views for step in cfg.get("train_pipeline", ()) if step["type"] == "MultiView"
    ]
    size = 4 * len(domains), 3, *_image_size(cfg)
    images = [torch.randn(size, generator=generator) for _ in range(*views or [1])]
    camid = torch.tensor([0, 1, 0, 1]).repeat(len(domains))
    domain = torch.tensor(domains).repeat_interleave(4)
    samples = ReIDDataSample(
        gt_label=torch.tensor([0, 0, 1, 1]).repeat(len(domains)),
        sample_idx=torch.tensor([0, 4, 1, 5]).repeat(len(domains)),
        camid=camid,
        camera=camid.where(domain == 1, -1),
        domain=domain,
    )
    return (tuple(images) if views else images[0]), samples


def _image_size(cfg: Config) -> tuple[int, int]:
    """Height and width of trial images: small ones, where the encoder is not built for a size."""
    encoder = cfg.model.get("encoder") or {}
    encoder = encoder[0] if isinstance(encoder, (list, tuple)) else encoder
    return (encoder.get("backbone") or {}).get("img_size", (64, 32))
