"""Features on a plane, coloured by identity, camera or pseudo-label; made-up features are hollow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mmreid_uda.utils import check_vectors, make_rng
from mmreid_uda.utils.packages import import_package

from .picture import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_embedding", "in_largest", "project"]

# Colours of matplotlib's tab20 without its greys, which are for outliers.
_COLORS = [*range(14), *range(16, 20)]
# Fewer points are no layout's business; a smaller deviation of unit rows is rounding.
_FEWEST, _SPREAD = 4, 1e-6
# Rows compared with all landmarks at once, landmarks that a point is put between, and the difference in cosine by which
# one of them counts a third of another.
_AT_ONCE, _NEAR, _SOFTNESS = 4096, 3, 0.02


def in_largest(groups: np.ndarray, num: int) -> np.ndarray:
    """Find the members of the groups with most members: so many colours an eye can tell apart.

    Args:
        groups: int (N,), negative = in none.
        num: Groups to take; of equal size the lower numbers.

    Returns:
        bool (N,).
    """
    numbers, counts = np.unique(groups[groups >= 0], return_counts=True)
    return np.isin(groups, numbers[np.argsort(-counts, kind="stable")[:num]])


def project(
    features: np.ndarray,
    method: Literal["tsne", "umap"] = "tsne",
    seed: int = 0,
    landmarks: int | None = None,
) -> np.ndarray:
    """Lay features out on a plane so that near ones stay near.

    Of more than ``landmarks`` features so many are drawn and laid out, and each other one is put between the three of
    them that are nearest to it, the nearer by far: memory grows with N, and time with N times ``landmarks``.

    Args:
        features: float32 (N, D), unit rows, N >= 1.
        method: ``'tsne'`` (van der Maaten & Hinton, JMLR 2008) or ``'umap'`` (McInnes et al., 2018), which needs the
            package umap-learn.
        seed: The layout repeats itself for equal seeds.
        landmarks: Features that are laid out at most, some thousands; None (default) for all.

    Returns:
        float32 (N, 2); axes have no unit, and distances between far groups mean little. Up to three features are laid
        out without looking at them: there are no neighbourhoods to keep.

    Raises:
        InputError: If features are not as expected, or umap-learn is missing.
    """
    features = check_vectors(features, "features to lay out")
    if len(features) < _FEWEST:
        return np.eye(len(features), 2, dtype=np.float32)
    if landmarks is not None and len(features) > landmarks >= _FEWEST:
        chosen = make_rng(seed, "landmarks").choice(len(features), landmarks, replace=False)
        return _between(features, np.sort(chosen), method, seed)
    state = int(make_rng(seed, "embedding").integers(2**31))
    if method == "umap":
        umap = import_package("umap", "the layout 'umap'", "umap-learn", "take 'tsne'")
        return umap.UMAP(n_neighbors=min(15, len(features) - 1), random_state=state).fit_transform(
            features
        )
    from sklearn.manifold import TSNE

    # The usual perplexity of 30 needs a hundred points.
    perplexity = min(30.0, (len(features) - 1) / 3)
    # Equal points have no principal axes to start from: scikit-learn would divide by zero and end the process. Points
    # on a line have one.
    spread = features.shape[1] > 1 and features.std(0).max() > _SPREAD
    start = "pca" if spread else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=state).fit_transform(features)


def _between(
    features: np.ndarray, chosen: np.ndarray, method: Literal["tsne", "umap"], seed: int
) -> np.ndarray:
    """Lay some features out, and put the others between them: float32 (N, 2)."""
    marks = features[chosen]
    places = project(marks, method, seed)
    points = np.empty((len(features), 2), np.float32)
    for start in range(0, len(features), _AT_ONCE):
        similarity = features[start : start + _AT_ONCE] @ marks.T
        near = np.argpartition(-similarity, _NEAR - 1, axis=1)[:, :_NEAR]
        cosines = np.take_along_axis(similarity, near, axis=1)
        weights = np.exp((cosines - cosines.max(1, keepdims=True)) / _SOFTNESS)
        weights /= weights.sum(1, keepdims=True)
        points[start : start + _AT_ONCE] = np.einsum("nk,nkd->nd", weights, places[near])
    points[chosen] = places
    return points


def draw_embedding(
    points: np.ndarray,
    groups: np.ndarray,
    supports: np.ndarray | None = None,
    support_groups: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """Draw one dot per feature; supports are rings of their group's colour, as in ISE (CVPR 2022).

    Args:
        points: float (N, 2).
        groups: int (N,), the colour of each: identity, camera, or cluster; negative is a small grey cross.
        supports: float (M, 2), hollow, or None.
        support_groups: int (M,), their groups.
        title: Above the picture.

    Returns:
        The figure. Its first collection are the dots; supports, then outliers follow where there are some.
    """
    from matplotlib import colormaps

    figure, panels = new_figure(1, 1, (6.4, 6.0))
    panel = panels[0, 0]
    numbers = np.unique(groups[groups >= 0])
    palette = colormaps["tab20"](_COLORS)

    def colors(of: np.ndarray) -> np.ndarray:
        # More groups than colours: neighbours in number differ, far ones may share one.
        return palette[np.searchsorted(numbers, of) % len(palette)]

    inlier = groups >= 0
    panel.scatter(*points[inlier].T, s=16, color=colors(groups[inlier]), linewidths=0)
    if supports is not None and support_groups is not None:
        rings = colors(support_groups)
        panel.scatter(*supports.T, s=26, facecolors="none", edgecolors=rings, linewidths=0.9)
    if not inlier.all():
        panel.scatter(*points[~inlier].T, s=12, marker="x", color="0.7", linewidths=0.7)
    panel.set(title=title, xticks=[], yticks=[])
    return figure
