"""Checkpoints as files: reading them safely, finding them, their addresses, writing them, released tensor names."""

from .official_names import convert_official
from .reading import TRUST_VARIABLE, find_state_dict, load_from_local, non_finite
from .rendered import RENDERED, halved, load_from_rendered, start_card
from .runs import epoch_checkpoints, find_checkpoint, noted_checkpoint, training_arguments
from .sources import load_from_bundled, load_from_http, load_from_torchvision, register_loaders
from .writing import write_checkpoint

__all__ = [
    "RENDERED",
    "TRUST_VARIABLE",
    "convert_official",
    "epoch_checkpoints",
    "find_checkpoint",
    "find_state_dict",
    "halved",
    "load_from_bundled",
    "load_from_http",
    "load_from_local",
    "load_from_rendered",
    "load_from_torchvision",
    "non_finite",
    "noted_checkpoint",
    "register_loaders",
    "start_card",
    "training_arguments",
    "write_checkpoint",
]
