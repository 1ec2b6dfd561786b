"""Candidates of a search ranked anew: centered, by k-reciprocal neighbourhoods, by the time between cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mmreid_uda.evaluation import TimePrior, joint_score, rerank
from mmreid_uda.neighbors.centering import center_by
from mmreid_uda.utils import InputError

from .items import Items, Sightings

__all__ = ["Found", "Ranking"]


@dataclass(frozen=True, eq=False)
class Found:
    """Items that are similar to one query, best first.

    Args:
        items: K items, without features.
        similarities: float32 (K,), cosines.
        scores: float64 (K,), by which they are ordered where it is not by similarity.
    """

    items: Items
    similarities: np.ndarray
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.items)

    def ordered(self, k: int) -> Found:
        """The best ones, those of equal similarity in the order of their identifiers.

        Args:
            k: How many.

        Returns:
            Up to ``k`` of them.
        """
        order = np.lexsort((np.array(self.items.ids, dtype=str), -self.similarities))[:k]
        return Found(self.items.take(order), self.similarities[order])


@dataclass(frozen=True, eq=False)
class Ranking:
    """What ranks candidates anew.

    Args:
        means: Camera -> float32 (D,) that centering subtracts, ``''`` for unknown cameras; None for none.
        rerank: Whether k-reciprocal neighbourhoods do.
        prior: The time between cameras; None for none.
        sightings: Of the queries; None = unknown.

    Raises:
        InputError: Re-ranking and a time prior together.
    """

    means: Mapping[str, np.ndarray] | None
    rerank: bool
    prior: TimePrior | None
    sightings: Sightings | None

    def __post_init__(self) -> None:
        if self.rerank and self.prior is not None:
            raise InputError(
                "found rerank and a time prior for one search, expected one of both, since the prior is made for "
                "cosines: leave one out."
            )

    def __bool__(self) -> bool:
        """Whether candidates are ranked anew at all."""
        return self.means is not None or self.rerank or self.prior is not None

    def ranked(self, row: np.ndarray, number: int, found: Found, features: np.ndarray) -> Found:
        """Candidates of one query in their new order.

        Args:
            row: float32 (D,), the query, at unit norm.
            number: Of the query, for its camera and time.
            found: K candidates, best first.
            features: float32 (K, D), theirs.

        Returns:
            The same candidates with scores, those of equal score by similarity.
        """
        scores = found.similarities.astype(np.float64)
        query = row[None]
        if self.means is not None:
            camera = "" if self.sightings is None else str(self.sightings.cameras[number])
            query = center_by(self.means, query, np.array([camera]))
            features = center_by(self.means, features, found.items.cameras)
            scores = (features @ query[0]).astype(np.float64)
        if self.rerank:
            [(_, distances)] = rerank(query, features)
            scores = 1 - distances[0].double().numpy()
        if self.prior is not None:
            assert self.sightings is not None
            probability = self.prior.probability(
                self.sightings.cameras[[number]],
                self.sightings.times[[number]],
                found.items.cameras,
                found.items.times,
            )[0]
            scores = joint_score(scores, probability)
        order = np.argsort(-scores, kind="stable")
        return replace(
            found,
            items=found.items.take(order),
            similarities=found.similarities[order],
            scores=scores[order],
        )
