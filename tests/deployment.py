"""What the tests of inference, search and export share: small models with weights, and tools called in this process."""

import contextlib
import resource
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import torch

from mmreid_uda.config import load_config
from mmreid_uda.registry import MODELS

REPOSITORY = Path(__file__).parents[1]
SMALL = {"input_size": (64, 32)}
SMALL_ARGUMENTS = ("--cfg-options", "input_size=(64,32)")


def make_model(config, options=None, initial=False):
    """A model with initial weights, or as training might leave it: teachers and running statistics of their own.

    Convolutions keep the variance of what they are given: with the initial ones all images have the same feature.
    """
    cfg = load_config(config, {**SMALL, "stage1": None, **(options or {})})
    model = MODELS.build(cfg.model)
    if initial:
        model.init_weights()
        model.cfg = cfg
        return model.eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 4:
            scale = (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
        elif name.endswith("running_mean"):
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
        elif name.endswith("running_var"):
            tensor.mul_(0.7 + 0.6 * torch.rand(tensor.shape, generator=generator))
        elif "teachers" in name and tensor.is_floating_point():
            tensor.add_(0.02 * torch.randn(tensor.shape, generator=generator))
    model.cfg = cfg
    return model.eval()


def write_checkpoint(path, model):
    """A training checkpoint of mmengine, as far as inference is concerned."""
    meta = dict(epoch=7, iter=70, cfg="text")
    torch.save({"meta": meta, "state_dict": model.state_dict(), "optimizer": {}}, path)
    return path


def call_tool(script, *arguments):
    """Run a tool as from the command line, but in this process: seconds less."""
    folder = str((REPOSITORY / script).parent)
    with (
        patch.object(sys, "argv", [script, *map(str, arguments)]),
        patch.object(sys, "path", [folder, *sys.path]),
    ):
        runpy.run_path(str(REPOSITORY / script), run_name="__main__")


@contextlib.contextmanager
def no_room_beyond(num_bytes):
    """Files that grow larger fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
