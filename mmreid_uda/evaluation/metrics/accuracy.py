"""How often the true class is among the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import MinLen
from mmengine.evaluator import BaseMetric

from mmreid_uda.registry import METRICS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count

__all__ = ["Accuracy"]


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Top-k accuracy in percent of models that answer ``mode='predict'`` with ``scores``: ``accuracy/top1``, ...

    A class that scores as high as the true one stands before it: a network that says the same of all is never right.

    Args:
        topk: The numbers k. Defaults to (1,).
        collect_device: As for mmengine's ``BaseMetric``.
        prefix: Defaults to ``'accuracy'``.

    Raises:
        InputError: If a k is below 1; at an evaluation, for scores that are NaN or infinite.

    Example:
        >>> val_evaluator = dict(type='Accuracy', topk=(1, 5))
    """

    default_prefix = "accuracy"

    def __init__(
        self,
        topk: Annotated[Sequence[Count], MinLen(1)] = (1,),
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note, for each image, how many other classes score at least as high as the true one.

        Args:
            data_batch: Not used.
            data_samples: Batches with ``scores`` (B, K) and ``gt_label`` (B,).

        Raises:
            InputError: If scores are NaN or infinite.
        """
        for batch in data_samples:
            scores = batch["scores"].detach().float().cpu()
            broken = int((~scores.isfinite()).any(1).sum())
            if broken:
                raise InputError(
                    f"Accuracy: found NaN or infinite scores for {broken} of {len(scores)} images, expected finite "
                    "ones; the network diverged: lower optim_wrapper.optimizer.lr, or test an earlier checkpoint."
                )
            true = scores.gather(1, batch["gt_label"].cpu()[:, None])
            self.results.extend(((scores >= true).sum(1) - 1).tolist())

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Share of the images with fewer than k classes before the true one.

        Args:
            results: For each image the number of classes before the true one.

        Returns:
            ``top1``, ... in percent, 0..100.
        """
        match_ranks = torch.tensor(results)
        return {f"top{k}": 100.0 * float((match_ranks < k).double().mean()) for k in self.topk}
