"""Command lines: arguments, sentences instead of tracebacks, processes.

Arguments are read before anything is imported that takes time: what this package exports needs no torch. Tools import
what they work with, :mod:`mmreid_uda.cli.launch` among it, when the command line is right.
"""

from .arguments import (
    PICTURES,
    ToolParser,
    add_config_options,
    add_feature_arguments,
    add_image_options,
    add_inferencer_arguments,
    add_launcher,
    add_picture_argument,
    add_time_prior,
    at_least,
    features_of_arguments,
    images_of_arguments,
    inferencer_of_arguments,
    number,
    time_prior_of_arguments,
    writable,
    writable_folder,
)
from .options import parse_options
from .run import run_command, run_tool, training_command

__all__ = [
    "PICTURES",
    "ToolParser",
    "add_config_options",
    "add_feature_arguments",
    "add_image_options",
    "add_inferencer_arguments",
    "add_launcher",
    "add_picture_argument",
    "add_time_prior",
    "at_least",
    "features_of_arguments",
    "images_of_arguments",
    "inferencer_of_arguments",
    "number",
    "parse_options",
    "run_command",
    "run_tool",
    "time_prior_of_arguments",
    "training_command",
    "writable",
    "writable_folder",
]
