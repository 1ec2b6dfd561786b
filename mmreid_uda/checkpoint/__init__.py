"""Checkpoints as files: reading them safely, finding them, their addresses, writing them, released tensor names."""

from .layouts import HEADS, LAYOUTS, Layout, LayoutName, convert_layout, detect_layout
from .official_names import convert_official
from .positions import Interpolation, infer_grid, position_tables, resize_positions
from .reading import TRUST_VARIABLE, find_state_dict, load_from_local, non_finite
from .rendered import RENDERED, halved, load_from_rendered, start_card
from .runs import (
    epoch_checkpoints,
    find_checkpoint,
    find_labels,
    noted_checkpoint,
    run_config,
    training_arguments,
)
from .sources import load_from_bundled, load_from_http, load_from_torchvision, register_loaders
from .writing import write_checkpoint

__all__ = [
    "HEADS",
    "LAYOUTS",
    "RENDERED",
    "TRUST_VARIABLE",
    "Interpolation",
    "Layout",
    "LayoutName",
    "convert_layout",
    "convert_official",
    "detect_layout",
    "epoch_checkpoints",
    "find_checkpoint",
    "find_labels",
    "find_state_dict",
    "halved",
    "infer_grid",
    "load_from_bundled",
    "load_from_http",
    "load_from_local",
    "load_from_rendered",
    "load_from_torchvision",
    "non_finite",
    "noted_checkpoint",
    "position_tables",
    "register_loaders",
    "resize_positions",
    "run_config",
    "start_card",
    "training_arguments",
    "write_checkpoint",
]
