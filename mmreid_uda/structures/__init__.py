"""What travels between the rooms: a batch of samples, and the labels of an epoch."""

from .pseudo_label_state import PseudoLabelState
from .reid_data_sample import ReIDDataSample
from .soft_labels import SoftLabels

__all__ = ["PseudoLabelState", "ReIDDataSample", "SoftLabels"]
