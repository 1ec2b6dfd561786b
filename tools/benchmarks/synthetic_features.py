"""Features for the benchmarks, as a re-identification network gives them: identities, cameras, a steep spectrum."""

from __future__ import annotations

import numpy as np

from mmreid_uda.utils import make_rng

__all__ = ["IMAGES_PER_ID", "NUM_CAMERAS", "NUM_SAMPLES", "make_features"]

NUM_SAMPLES, IMAGES_PER_ID, NUM_CAMERAS = 12_936, 17, 6
"""Training images of Market-1501, about so many of each person, and its cameras."""

# The standard deviation of the d-th principal direction falls like d^-0.4, which leaves about 150 effective ones.
_DECAY = 0.4
# Widths beside that of the identities' centres, chosen so that neighbourhoods overlap as those of a network early in
# its adaptation do: what a camera adds to all of its images, the outfits of a person, and the rest of an image.
_CAMERA, _OUTFIT, _IMAGE = 0.45, 0.5, 1.35
_OUTFITS = 3
# Some people are harder than others: log-normal spread of the width of their images.
_DIFFICULTY = 0.25
# Images made at once.
_BLOCK = 8192


def make_features(
    num: int,
    num_ids: int,
    num_cameras: int,
    dim: int = 2048,
    seed: int = 0,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw unit vectors of people seen by several cameras.

    ``center of the identity + bias of the camera + outfit + noise``, all with one power-law spectrum, turned so that
    no coordinate stands out. The numbers of images per identity are skewed, as in the datasets.

    Args:
        num: N, images.
        num_ids: Identities; each gets two images at least, if N allows.
        num_cameras: Cameras.
        dim: D, dimensions.
        seed: Equal seeds give equal features.
        out: float32 (N, D), such as a file in memory, that the features are written into. Defaults to None: new memory.

    Returns:
        features float32 (N, D), rows of unit norm; pids int64 (N,) in ``0..num_ids-1``; camids int64 (N,) in
        ``0..num_cameras-1``.
    """
    rng = make_rng(seed, "synthetic features")
    pids = _draw_pids(rng, num, num_ids)
    camids = rng.integers(0, num_cameras, num)
    outfits = pids * _OUTFITS + rng.integers(0, _OUTFITS, num)
    widths = _IMAGE * np.exp(rng.normal(0, _DIFFICULTY, num_ids)).astype(np.float32)

    spectrum = np.arange(1, dim + 1, dtype=np.float32) ** -_DECAY

    def draw(count: int) -> np.ndarray:
        return rng.standard_normal((count, dim), dtype=np.float32) * spectrum

    centers, cameras = draw(num_ids), _CAMERA * draw(num_cameras)
    wardrobe = _OUTFIT * draw(num_ids * _OUTFITS)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim), dtype=np.float32))[0]
    features = np.empty((num, dim), np.float32) if out is None else out
    for start in range(0, num, _BLOCK):
        part = slice(start, min(start + _BLOCK, num))
        images = draw(part.stop - start) * widths[pids[part], None]
        images += centers[pids[part]] + cameras[camids[part]] + wardrobe[outfits[part]]
        images = images @ rotation
        features[part] = images / np.linalg.norm(images, axis=1, keepdims=True)
    return features, pids, camids


def _draw_pids(rng: np.random.Generator, num: int, num_ids: int) -> np.ndarray:
    """Two images of everyone, and the others skewed: int64 (N,), shuffled."""
    everyone = np.resize(np.arange(num_ids), min(num, 2 * num_ids))
    popularity = rng.gamma(2.0, 1.0, num_ids)
    others = rng.choice(num_ids, num - len(everyone), p=popularity / popularity.sum())
    return rng.permutation(np.concatenate([everyone, others]))
