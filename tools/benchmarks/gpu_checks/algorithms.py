"""The algorithms that are checked: the small configs of all methods, of the core and of the projects."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmreid_uda.config import load_config

from .machine import REPOSITORY

__all__ = ["ALGORITHMS", "STEPS_ALONE", "config_name", "read_config"]

ALGORITHMS = (
    "configs/ise/ise_mbv2_synthb.py",
    "configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py",
    "configs/ptl/ptl_mbv2_synthb.py",
    "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py",
    "configs/abmt/abmt_mbv2_syntha2synthb.py",
    "configs/abmt/abmt-usl_mbv2_synthb.py",
    "configs/strong_baseline/strong-baseline_mbv2_syntha2synthb.py",
    "configs/source/source_mbv2_syntha2synthb.py",
    "configs/mmt/cluster-baseline_mbv2_syntha2synthb.py",
    "configs/mmt/mmt-k150_mbv2_syntha2synthb.py",
    "configs/fat/fat_mbv2_synthb.py",
    "fat-teacher_mbv2_synthb",
    "ptl-v2_mbv2_synthb",
    "std_mbv2_synthb",
    "projects/spcl/configs/spcl_mbv2_synthb.py",
    "projects/spcl/configs/spcl_mbv2_syntha2synthb.py",
    "projects/mebnet/configs/mebnet_mbv2_syntha2synthb.py",
)
"""Those that train on rendered people, the most telling first."""

STEPS_ALONE = (
    "fat-triplet_mbv2_synthb",
    "configs/ptl/ptl_mbv2_digits.py",
    "std_mbv2_digits",
    "projects/example_project/configs/example-project_mbv2_synthb.py",
    "configs/ptl/mgn-ptl_r50_market.py",
    "configs/ptl/mgn_r50_market.py",
)
"""Variants, classification, and networks without a small config, of which one step is taken."""


def config_name(path: str) -> str:
    """What a report calls a config."""
    return Path(path).stem


def read_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Load a config by its path in the repository, without the first stage that it may ask for.

    Args:
        path: In the repository.
        options: Dotted keys -> values merged into it.
    """
    # Projects are imported from the repository's root, and teachers are named by paths in it.
    os.chdir(REPOSITORY)
    if str(REPOSITORY) not in sys.path:
        sys.path.insert(0, str(REPOSITORY))
    return load_config(path, {"stage1": None, **(options or {})})
