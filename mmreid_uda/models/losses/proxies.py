"""Losses against camera proxies: those of an image's camera, of its cluster, and those it looks like.

Logits are ``z = s / tau``, similarities of B features to P proxies, float (..., B, P); in front there may be parts.
What selects proxies has no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmreid_uda.utils import full_precision

__all__ = [
    "association_similarities",
    "intra_camera_loss",
    "offline_loss",
    "online_loss",
    "online_positives",
    "proxy_contrast",
    "sum_over_cameras",
]


@full_precision
def intra_camera_loss(logits: Tensor, proxies: Tensor, cameras: Tensor) -> Tensor:
    """``-log softmax(z_i)_p`` over the proxies of the camera of p, for images i of proxies p (CAP, AAAI 2021).

    Args:
        logits: float (..., B, P).
        proxies: int64 (B,), of each image.
        cameras: int64 (P,), of each proxy.

    Returns:
        float32 (..., B).
    """
    elsewhere = cameras != cameras[proxies].unsqueeze(1)
    among = logits.masked_fill(elsewhere, -torch.inf)
    own = proxies.expand(logits.shape[:-1]).unsqueeze(-1)
    return -among.log_softmax(-1).gather(-1, own).squeeze(-1)


@full_precision
def offline_loss(logits: Tensor, proxies: Tensor, clusters: Tensor, num_negatives: int) -> Tensor:
    """:func:`proxy_contrast` with all proxies of the own cluster, whatever their camera, as positives.

    CAP (AAAI 2021) calls it inter-camera loss, O2CAP offline association (TIP 2022).

    Args:
        logits: float (..., B, P).
        proxies: int64 (B,), of each image.
        clusters: int64 (P,), of each proxy.
        num_negatives: Other proxies of the largest logits that count; all of them if there are fewer.

    Returns:
        float32 (..., B).
    """
    positive = clusters == clusters[proxies].unsqueeze(1)
    return proxy_contrast(logits, positive, logits, num_negatives)


@full_precision
def online_loss(
    logits: Tensor,
    similarities: Tensor,
    cameras: Tensor,
    num_positives: int,
    num_negatives: int,
    fill: bool = False,
) -> Tensor:
    """:func:`proxy_contrast` with :func:`online_positives`, which no label says (O2CAP, TIP 2022).

    Args:
        logits: float (..., B, P).
        similarities: float (..., B, P), by which positives and negatives are chosen: :func:`association_similarities`.
        cameras: int64 (P,), of each proxy.
        num_positives: As for :func:`online_positives`.
        num_negatives: Other proxies of the largest similarities that count; all of them if there are fewer, where the
            released code fails.
        fill: As for :func:`online_positives`.

    Returns:
        float32 (..., B).
    """
    positive = online_positives(similarities, cameras, num_positives, fill)
    return proxy_contrast(logits, positive, similarities, num_negatives)


@torch.no_grad()
@full_precision
def association_similarities(
    similarities: Tensor, prototypes: Tensor, proxies: Tensor, weight: float
) -> Tensor:
    """``a_q = w s_q + (1 - w) <M_p, M_q>``: how much an image of proxy p, and p itself, look like proxy q.

    Args:
        similarities: s, float (..., B, P).
        prototypes: M, float (..., P, D), unit rows.
        proxies: int64 (B,), of each image.
        weight: w, in 0..1.

    Returns:
        float32 (..., B, P).
    """
    of_proxy = prototypes[..., proxies, :] @ prototypes.transpose(-1, -2)
    return weight * similarities + (1 - weight) * of_proxy


@torch.no_grad()
def online_positives(
    similarities: Tensor, cameras: Tensor, num_positives: int, fill: bool = False
) -> Tensor:
    """The proxies that are the most similar of their camera, and of these the most similar ones.

    Args:
        similarities: float (..., B, P), within -1..1.
        cameras: int64 (P,), of each proxy; an unknown one, -1, is a camera like any other.
        num_positives: How many; fewer where there are fewer cameras.
        fill: Where there are fewer cameras, take the most similar other proxies as well, as the released code does.
            Defaults to False.

    Returns:
        bool (..., B, P).
    """
    # Sorted by camera, and within by similarity: where a camera begins is its best, of equals the first.
    order = similarities.argsort(dim=-1, descending=True, stable=True)
    order = order.gather(-1, cameras[order].argsort(dim=-1, stable=True))
    of_camera = cameras[order]
    begins = torch.ones_like(of_camera, dtype=torch.bool)
    begins[..., 1:] = of_camera[..., 1:] != of_camera[..., :-1]
    best = torch.zeros_like(begins).scatter(-1, order, begins)
    others = similarities - 3 if fill else similarities.new_tensor(-torch.inf)  # behind all best
    ranked = torch.where(best, similarities, others)
    top = ranked.topk(min(num_positives, len(cameras)), dim=-1)
    return torch.zeros_like(best).scatter(-1, top.indices, top.values > -torch.inf)


@full_precision
def proxy_contrast(
    logits: Tensor, positive: Tensor, similarities: Tensor, num_negatives: int
) -> Tensor:
    """``-1/|Q| sum_{q in Q} log softmax(z_i)_q`` over Q and H: cross-entropy with a target of ``1/|Q|`` on each of Q.

    H are the ``num_negatives`` proxies outside Q of the largest similarities, or all of them if there are fewer.

    Args:
        logits: float (..., B, P).
        positive: Q, bool (B, P) or (..., B, P), at least one in each row.
        similarities: float (..., B, P); only their order matters.
        num_negatives: ``|H|``.

    Returns:
        float32 (..., B).
    """
    ranked = similarities.detach().masked_fill(positive, -torch.inf)
    hardest = ranked.topk(min(num_negatives, logits.shape[-1]), dim=-1).indices
    # If there are fewer negatives, the last of `hardest` are positives, which do not count here.
    negatives = logits.masked_fill(positive, -torch.inf).gather(-1, hardest)
    among = torch.cat([logits.masked_fill(~positive, -torch.inf), negatives], dim=-1)
    mean_positive = logits.masked_fill(~positive, 0).sum(-1) / positive.sum(-1)
    return among.logsumexp(-1) - mean_positive


def sum_over_cameras(values: Tensor, cameras: Tensor) -> Tensor:
    """Sum over cameras of the mean over their images; it grows with the number of cameras in a batch.

    Args:
        values: float (B,), of each image.
        cameras: int64 (B,), of each image.

    Returns:
        A scalar.
    """
    counts = (cameras.unsqueeze(1) == cameras).sum(1)
    return (values / counts).sum()
