"""Words that configs, functions and command lines choose among."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["DOMAIN_NAMES", "INDEX_KINDS", "SPLITS", "DomainName", "IndexKind", "Part", "Split"]

Split = Literal["train", "query", "gallery"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""The splits a re-ID dataset can have; a source-only set has just ``train``."""

DomainName = Literal["source", "target"]
DOMAIN_NAMES: tuple[DomainName, ...] = get_args(DomainName)
"""Names of the domains 0 and 1."""

Part = Literal["train", "test"]
"""Images of a config: its target's training images, or its first test set."""

IndexKind = Literal["flat", "ivf", "hnsw"]
INDEX_KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
"""How a gallery is searched: exactly, by an inverted file, or by a graph of near vectors."""
