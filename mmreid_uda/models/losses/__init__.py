"""Losses: one formula per file."""

from .label_preserving_loss import LabelPreservingLoss

__all__ = ["LabelPreservingLoss"]
