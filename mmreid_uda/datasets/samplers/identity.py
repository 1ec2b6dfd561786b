"""P×K sampling, with a preference for other cameras or without: one pass over all identities."""

from __future__ import annotations

import numpy as np

__all__ = ["distinct_plan", "identity_plan"]


def identity_plan(
    labels: np.ndarray,
    camids: np.ndarray,
    num_instances: int,
    rng: np.random.Generator,
    use_cameras: bool = True,
) -> np.ndarray:
    """Draw one pass of the papers' identity sampler (``RandomMultipleGallerySampler``).

    The identities come in random order. Each gives an anchor, drawn from its images, and ``num_instances - 1`` more:
    from its images of *other cameras* if there are any, else from its other images; without replacement if there are
    at least ``num_instances`` to draw from (not ``num_instances - 1``), else with. An identity of a single image
    gives that image alone, so blocks of ``num_instances`` are aligned only where no such identity occurs.

    Args:
        labels: int64 (N,); negative labels (outliers) are never drawn.
        camids: int64 (N,).
        num_instances: Images per identity, K of P×K, at least 1.
        rng: Generator of the draws.
        use_cameras: False draws from all other images, whatever their camera (Cluster-Contrast's ``NoCam`` sampler).

    Returns:
        int64 (M,), indices into ``labels``; M = identities × num_instances where no identity is a single image.
    """
    members = np.flatnonzero(labels >= 0)
    if not members.size:
        return members
    members = members[np.argsort(labels[members], kind="stable")]
    _, starts, group, counts = np.unique(
        labels[members], return_index=True, return_inverse=True, return_counts=True
    )
    anchors = starts + rng.integers(0, counts)

    # Which members may follow the anchor of their identity.
    candidate = np.ones(len(members), dtype=bool)
    candidate[anchors] = False
    if use_cameras:
        cameras = camids[members]
        other_camera = cameras != cameras[anchors][group]
        has_other = np.bincount(group, other_camera, minlength=len(starts)) > 0
        candidate = np.where(has_other[group], other_camera, candidate)
    num_candidates = np.bincount(group, candidate, minlength=len(starts)).astype(np.int64)

    # Candidates first, in random order: the first columns of an identity are a draw without replacement.
    shuffled = np.lexsort((rng.random(len(members)), ~candidate, group))
    with_replacement = rng.integers(
        0, np.maximum(num_candidates, 1)[:, None], size=(len(starts), num_instances - 1)
    )
    column = np.where(
        (num_candidates >= num_instances)[:, None], np.arange(num_instances - 1), with_replacement
    )
    followers = shuffled[starts[:, None] + column]

    plan = np.concatenate([anchors[:, None], followers], axis=1)
    emitted = np.ones(plan.shape, dtype=bool)
    emitted[num_candidates == 0, 1:] = False
    order = rng.permutation(len(starts))
    return members[plan[order][emitted[order]]]


def distinct_plan(labels: np.ndarray, num_instances: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one pass of PTL's identity sampler: no image twice of an identity that has enough of them.

    The identities come in random order. Each gives ``num_instances`` different images; one that has fewer is drawn from
    ``num_instances`` copies of each of its images, also without replacement. So all blocks are of ``num_instances``.

    Args:
        labels: int64 (N,); negative labels (outliers) are never drawn.
        num_instances: Images per identity, K of P×K, at least 1.
        rng: Generator of the draws.

    Returns:
        int64 (identities × num_instances,), indices into ``labels``.
    """
    members = np.flatnonzero(labels >= 0)
    _, group, counts = np.unique(labels[members], return_inverse=True, return_counts=True)
    copies = np.where(counts < num_instances, num_instances, 1)
    members, group = (np.repeat(one, copies[group]) for one in (members, group))
    members = members[np.lexsort((rng.random(len(members)), group))]
    ends = np.cumsum(counts * copies)
    starts = rng.permutation(ends - counts * copies)
    return members[starts[:, None] + np.arange(num_instances)].ravel()
