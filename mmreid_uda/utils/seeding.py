"""Random draws that depend on (seed, epoch, position) and on nothing else.

No sampler, transform or clusterer of this package reads the global generators of ``random``, ``numpy`` or ``torch``:
a run is then the same with any number of workers and ranks, and after a resume.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["SeededIndex", "make_rng"]


def make_rng(*keys: int | str) -> np.random.Generator:
    """Make the generator that belongs to a tuple of keys.

    Args:
        *keys: Non-negative integers, or strings that name a purpose (``"sampler"``), so that two users of the same
            seed and epoch draw independent streams.

    Returns:
        A fresh generator; equal keys give equal streams on every machine.
    """
    entropy = [
        int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
        if isinstance(key, str)
        else int(key)
        for key in keys
    ]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


class SeededIndex(int):
    """A data-set index that carries the seed of its own augmentation.

    The batch sampler gives one to every position of its plan. It is an ``int``, so any dataset accepts it; datasets
    of this package read :attr:`seed` and hand the transforms a generator made from it. The augmentation of an image
    thus follows from its place in the global batch, not from the worker or rank that happens to load it.

    Args:
        index: Index into the dataset.
        seed: Seed of the augmentation, ``0 <= seed < 2**63``.
    """

    seed: int

    def __new__(cls, index: int, seed: int) -> SeededIndex:
        """Make an ``int`` that also has a seed."""
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self), self.seed
