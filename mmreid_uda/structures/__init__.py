"""What travels between the modules: a batch of samples, what is known of images, and the labels of an epoch."""

from .camera_proxies import split_by_camera
from .class_means import class_means
from .evidence import Evidence, Links
from .pseudo_label_state import PseudoLabelState
from .reid_data_sample import ReIDDataSample
from .soft_labels import SoftLabels
from .training_images import Extract, TrainingImages

__all__ = [
    "Evidence",
    "Extract",
    "Links",
    "PseudoLabelState",
    "ReIDDataSample",
    "SoftLabels",
    "TrainingImages",
    "class_means",
    "split_by_camera",
]
