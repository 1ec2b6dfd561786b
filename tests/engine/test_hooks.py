"""Hooks whose effect can be seen without a long run."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmreid_uda.datasets import CrossDomainDataset, ReIDTestDataset
from mmreid_uda.engine import AmpOptimWrapper, unwrap
from mmreid_uda.engine.hooks import EpochSeedHook, ProgressiveLambdaHook
from mmreid_uda.engine.hooks.consistency_hook import _fingerprint, strange_cameras
from mmreid_uda.models.heads import ClassifierHead
from mmreid_uda.models.layers import CameraEmbedding
from mmreid_uda.utils import InputError


class Model(nn.Module):
    support_scale = 0.0


def runner_at(iteration, epoch=0, max_iters=100):
    return SimpleNamespace(
        model=Model(),
        iter=iteration,
        epoch=epoch,
        max_iters=max_iters,
        seed=5,
        message_hub=MessageHub.get_instance("test_hooks"),
    )


@pytest.mark.parametrize(
    "progress, value",
    [(0, 0), (10, 0.079283), (25, 0.178687), (50, 0.310057), (75, 0.413994), (100, 0.5)],
)
def test_lambda_grows_logarithmically_as_published(progress, value):
    runner = runner_at(progress)
    ProgressiveLambdaHook().before_train_iter(runner, 0)
    assert runner.model.support_scale == pytest.approx(value, abs=1e-5)
    assert math.isclose(
        runner.message_hub.get_scalar("train/support_scale").current(), value, abs_tol=1e-5
    )


@pytest.mark.parametrize("schedule, value", [("linear", 0.5), ("constant", 2.0)])
def test_other_schedules(schedule, value):
    runner = runner_at(25)
    ProgressiveLambdaHook(base=2.0, schedule=schedule).before_train_iter(runner, 0)
    assert runner.model.support_scale == pytest.approx(2 * 0.25 if schedule == "linear" else value)


def test_a_model_without_the_attribute_is_named():
    with pytest.raises(InputError, match="Model has no attribute 'lam'"):
        ProgressiveLambdaHook(attribute="lam").before_train(runner_at(0))


def test_global_draws_repeat_per_epoch_and_differ_between_epochs():
    draws = []
    for epoch in (3, 3, 4):
        EpochSeedHook().before_train_epoch(runner_at(0, epoch))
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_mixed_precision_runs_on_the_cpu():
    model = nn.Linear(4, 4)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    with wrapper.optim_context(model):
        out = model(torch.ones(2, 4))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="bfloat16"):
            AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype="float16")


def test_unwrap_leaves_a_bare_model_alone():
    model = Model()
    assert unwrap(model) is model


def test_weights_are_compared_by_their_bytes():
    """A sum depends on the GPU that adds, and does not see what a last bit or an exchange changes."""
    model = nn.Sequential(nn.Linear(3, 4), ClassifierHead(4), nn.Linear(4, 2).bfloat16())
    other = copy.deepcopy(model)
    assert _fingerprint(other) == _fingerprint(model)
    other[0].weight.data[1, 2] = torch.nextafter(other[0].weight[1, 2], torch.tensor(9.0))
    assert _fingerprint(other) != _fingerprint(model)
    exchanged = copy.deepcopy(model)
    exchanged[0].weight.data = exchanged[0].weight.data.flip(0)
    assert _fingerprint(exchanged) != _fingerprint(model)


def crops(folder, *cameras):
    """A folder of one image per camera of each of two people, whose names tell both; '-' tells no camera."""
    folder.mkdir()
    for camera in cameras:
        for pid in (1, 2):
            (folder / f"{pid}_{camera}.jpg").touch()
    return dict(
        type="FolderReIDDataset", data_root=str(folder), pattern=r"(?P<pid>\d)_(?P<camid>[a-z]+)?"
    )


def test_cameras_without_a_vector_of_their_own_are_told(tmp_path):
    known = CrossDomainDataset(target=crops(tmp_path / "known", "a", "b", "c", "-"))
    unknown = CrossDomainDataset(target=crops(tmp_path / "unknown", "-", "--"))
    source = CrossDomainDataset(source=crops(tmp_path / "source", "a"))
    same = ReIDTestDataset([crops(tmp_path / "same", "a", "b")])
    other = ReIDTestDataset([crops(tmp_path / "other", "a", "c")])

    def said(cameras, dataset, tests=None):
        return list(strange_cameras(nn.Sequential(CameraEmbedding(cameras, 4)), dataset, tests))

    assert said(3, known, same) == said(4, known, None) == []
    [words] = said(1, known)
    assert "cameras=1 and 4 target images of further cameras, b for one" in words
    assert "set it to 3" in words
    for dataset, reason in ((unknown, "no target image of known camera"), (source, "no target")):
        [words] = said(3, dataset)
        assert f"cameras=3 and {reason}, expected cameras of a target" in words
    [words] = said(3, known, other)
    assert "cameras are others than the target's, 'c' for 'b', expected the same" in words
    assert list(strange_cameras(nn.Linear(2, 2), unknown, other)) == []
