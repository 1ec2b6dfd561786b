"""MEB-Net: several experts teach each other, and who separates people better has more say.

Source: Zhai et al., "Multiple Expert Brainstorming for Domain Adaptive Person Re-Identification", ECCV 2020.

It is mutual mean-teaching of three networks, best of different architecture. Before every epoch the features of each
average are clustered alone; the ratio of the scatter between clusters to that within is the *authority* with which this
expert's soft labels count.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmreid_uda.models.algorithms import MMT, MeanTeacherOutput, mean_distance
from mmreid_uda.models.losses import (
    mean_of,
    soft_cross_entropy,
    soft_softmax_triplet,
    softmax_triplet,
)
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import (
    Extract,
    PseudoLabelState,
    ReIDDataSample,
    TrainingImages,
    class_means,
)
from mmreid_uda.utils.dist import gather_batch


def scatter_ratio(features: np.ndarray, labels: np.ndarray) -> float:
    """How well clusters are separated: scatter between them by scatter within, ``J = B / W``.

    ``W = sum_c sum_{x in c} |x - mu_c|²``, ``B = sum_c n_c |mu_c - mu|²`` with mu the mean of the cluster centres, each
    counted once, as released.

    Args:
        features: float (N, D).
        labels: int64 (N,), ``0..K-1``, each class with a member.
    """
    counts = np.bincount(labels)
    rows = torch.from_numpy(features).double()
    centers = class_means(rows, torch.from_numpy(labels), len(counts)).numpy()
    within = np.square(features - centers[labels]).sum()
    between = (counts * np.square(centers - centers.mean(0)).sum(1)).sum()
    return float(between / within)


def authority(scores: list[float]) -> Tensor:
    """Scores J_i of the experts, scaled to a mean of 1: ``a_i = M J_i / sum_j J_j``, float32 (M,)."""
    values = torch.tensor(scores, dtype=torch.float64)
    return (values / values.mean()).float()


@MODELS.register_module()
class MEBNet(MMT):
    """Mutual mean-teaching in which the soft label of teacher i counts a_i.

    ::

        L = sum_j (1-a) CE_ls(z_j, y) + (1-b) ST_hard(f_j, y)
          + sum_{i≠j} a_i / (M-1) · (a SCE(z_j | t_i) + b ST_soft(f_j | u_i))

    for M students j and teachers i. Until they have clustered, all a_i are 1, and this is MMT. The clusterer serves the
    mean of the experts' features, then each expert.

    Args:
        *args: As for :class:`MMT`.
        num_students: M, at least 2. Defaults to 3.
        **kwargs: As for :class:`MMT`.
    """

    authority: Tensor

    def __init__(self, *args: Any, num_students: int = 3, **kwargs: Any) -> None:
        super().__init__(*args, num_students=num_students, **kwargs)
        self.register_buffer("authority", torch.ones(num_students))
        # Features of each expert, from cluster_features to on_relabel.
        self._alone: list[Tensor] = []

    def loss_target(self, out: MeanTeacherOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_ce_1``, ``loss_soft_ce_1``, ... of student 1, and so on."""
        y, a, b = gather_batch(samples.gt_label), self.soft_ce_weight, self.soft_triplet_weight
        losses, taught, experts = {}, [], list(zip(self.authority, out.teachers))
        for j, (f, z) in enumerate(out.students):
            others = experts[:j] + experts[j + 1 :]
            losses[f"loss_ce_{j + 1}"] = (1 - a) * self.cross_entropy(z, y)
            losses[f"loss_triplet_{j + 1}"] = (1 - b) * softmax_triplet(f, y)
            soft_ce = mean_of(a_i * soft_cross_entropy(z, t) for a_i, (_, t) in others)
            losses[f"loss_soft_ce_{j + 1}"] = a * soft_ce
            soft_triplet = mean_of(a_i * soft_softmax_triplet(f, u, y) for a_i, (u, _) in others)
            losses[f"loss_soft_triplet_{j + 1}"] = b * soft_triplet
            taught += [(f, u) for _, (u, _) in others]
        losses["diversity_supervision"] = mean_distance(taught)
        return losses

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """Mean of the teachers' unit features, not scaled again; each is kept for its authority."""
        self._alone = [
            extract(partial(self.extract_feat, network=number), images.target)
            for number in range(1, len(self.teachers) + 1)
        ]
        return torch.stack(self._alone).mean(0)

    def on_relabel(self, state: PseudoLabelState) -> None:
        """Let every expert cluster its own features, and set the authorities; new rows for the classifiers."""
        scores = []
        for features in self._alone:
            rows, labels = features.cpu().numpy(), state.cluster(features).numpy()
            scores.append(scatter_ratio(rows[labels >= 0], labels[labels >= 0]))
        self._alone = []
        if scores:
            self.authority = authority(scores).to(self.authority.device)
            shares = ", ".join(f"{share:.3f}" for share in self.authority.tolist())
            print_log(
                f"Authority of the experts before epoch {state.epoch + 1}: {shares}", "current"
            )
        super().on_relabel(state)
