"""What ``import mmreid_uda`` loads and changes: nothing; and what it offers."""

import json
import subprocess
import sys

import pytest
from processes import REPOSITORY

import mmreid_uda

FOREIGN = """
import sys, warnings
import mmengine.config.config, mmengine.runner, mmengine.runner.checkpoint as loading, torch

def state():
    return (
        [one for one in warnings.filters if "DataLoader" in str(one[1])],
        dict(loading.CheckpointLoader._schemes),
        list(torch.serialization.get_safe_globals()),
        (mmengine.config.config.FormatCode, mmengine.utils.is_installed, loading.load_from_http),
        (loading.save_checkpoint, mmengine.runner.save_checkpoint),
    )

before = state()
from mmreid_uda import ReIDInferencer, ReIDRunner, load_config
imported = state() == before
from mmreid_uda import compat
compat.install()
print(imported, state() == before)
"""


def run(code):
    """The output of a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_package_loads_nothing_else():
    code = (
        "import importlib, json, sys, typing; before = set(sys.modules); import mmreid_uda; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    assert json.loads(run(code)) == ["mmreid_uda"]


def test_importing_alone_changes_nothing_in_other_packages():
    assert run(FOREIGN) == "True False"


@pytest.mark.parametrize("name", mmreid_uda.__all__)
def test_every_public_name_is_there_and_listed(name):
    assert getattr(mmreid_uda, name) is not None and name in dir(mmreid_uda)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mmreid_uda.nothing
