"""What a training looks at before it starts, and what its Runner refuses."""

import os
from unittest.mock import patch

import pytest
import torch
from mmengine.logging import MMLogger

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner, nothing_to_train
from mmreid_uda.utils import InputError


def test_a_training_looks_for_its_checkpoints_before_anything_else(tiny, tmp_path):
    config = load_config(tiny(), {"load_from": str(tmp_path / "none.pth")})
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        nothing_to_train(config)
    config = load_config(tiny(), {"stage1": str(tmp_path / "source")})
    with pytest.raises(InputError, match=r"source does not exist, .* stage1"):
        nothing_to_train(config)
    config = load_config(tiny())
    config.resume, config.load_from = True, str(tmp_path / "none.pth")
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        nothing_to_train(config)
    config.load_from = None
    assert nothing_to_train(config) is None  # nothing to resume: it begins


def test_a_deterministic_run_prepares_cublas_and_cudnn(tiny, tmp_path, monkeypatch):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    options = {"work_dir": str(tmp_path / "run"), "randomness.deterministic": True}
    try:
        for value in (None, ":16:8"):
            monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
            if value:
                monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", value)
            runner = build_runner(load_config(tiny(), options))
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == (value or ":4096:8")
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.backends.cudnn.benchmark
            runner.lock.release()
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"optim_wrapper": None}, "optim_wrapper should be either all None"),
        ({"env_cfg.mp_cfg.mp_start_method": "foo"}, "cannot find context for 'foo'"),
    ],
)
def test_what_mmengine_refuses_is_one_sentence(tiny, tmp_path, options, words):
    cfg = load_config(tiny(), {"work_dir": str(tmp_path / "run"), **options})
    with pytest.raises(InputError, match=words):
        build_runner(cfg)


@pytest.mark.parametrize(
    "key, value",
    [
        ("randomness.seed", 2**32),
        ("default_hooks.logger.interval", 0),
        ("default_hooks.checkpoint.rule", "upper"),
        ("optim_wrapper.accumulative_counts", 0),
        ("log_level", "LOUD"),
    ],
)
def test_limits_of_mmengine_are_known_before_anything_is_built(tiny, key, value):
    with pytest.raises(InputError, match=key):
        load_config(tiny(), {key: value})


def test_a_start_from_random_weights_is_a_warning(tiny):
    said = []
    for number, change in enumerate(("", "encoder = dict(backbone=dict(init_cfg=None))\n")):
        cfg = load_config(tiny(extra=f"stage1 = None\n{change}", name=f"tiny{number}"))
        cfg.work_dir += str(number)
        with patch.object(MMLogger, "warning") as warning:
            build_runner(cfg)
        said.append([call.args[0] for call in warning.call_args_list])
    assert not any("starts at random" in text for text in said[0])
    assert any("the network starts at random" in text for text in said[1])
