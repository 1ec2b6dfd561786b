"""mmengine's pure-Python configs (``read_base``) go the same way as the ``_base_`` ones."""

import shutil

import pytest

from mmreid_uda.config import load_config
from mmreid_uda.models.algorithms import ISE
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

CONFIG = """
from mmengine.config import read_base

with read_base():
    from .._base_.datasets.reid import *
    from .._base_.default_runtime import *
    from .._base_.encoders.mbv2 import *
    from .._base_.schedules.usl_small import *

from mmreid_uda.models.algorithms import ISE

target = "synthb"
model = dict(type={type}, head=dict(type="ClusterMemoryHead"), {key}=0.3)
default_hooks.merge(
    dict(cluster=dict(type="ClusterHook", clusterer=dict(type="JaccardDBSCAN", eps=0.5)))
)
"""


@pytest.fixture
def write(tmp_path):
    """Write a config beside a copy of the bases."""
    shutil.copytree("configs/_base_", tmp_path / "configs" / "_base_")

    def write(type="'ISE'", key="lp_weight"):
        path = tmp_path / "configs" / "mine" / "ise_mbv2_mine.py"
        path.parent.mkdir()
        path.write_text(CONFIG.format(type=type, key=key))
        return path

    return write


@pytest.mark.parametrize("type", ["'ISE'", "ISE"])
def test_a_read_base_config_is_a_whole_recipe(write, type):
    cfg = load_config(write(type), {"global_batch_size": 32, "target": "synthc"}, world_size=2)
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.train_dataloader.dataset.target.variant == "c"
    assert cfg.default_hooks.cluster.clusterer.eps == 0.5
    assert cfg.default_hooks.cluster.pipeline[1].scale == (64, 128)
    assert "logger" in cfg.default_hooks
    model = MODELS.build(cfg.model)
    assert isinstance(model, ISE) and model.lp_weight == 0.3


def test_its_misspelled_keys_are_named(write):
    with pytest.raises(InputError, match=r"`model.lp_wieght`.*`lp_weight`"):
        load_config(write(key="lp_wieght"))
