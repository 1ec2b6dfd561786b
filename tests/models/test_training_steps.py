"""A step of every algorithm: what leaves mixed precision, what a GPU is waited for, what is deterministic."""

import copy

import pytest
import torch
import torch.nn.functional as F
from synchronization import synchronizations
from torch.utils._python_dispatch import TorchDispatchMode
from training_steps import STEPS, make_step

from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.encoders.mgn_encoder import _pool
from mmreid_uda.models.layers import support_samples
from mmreid_uda.utils import without_kernels

pytestmark = pytest.mark.slow

# Operators that choose: neighbours, mined pairs, supports, the samples of a class.
CHOOSING = {"argmax", "argmin", "topk", "sort", "argsort", "max", "min"}
# Those that torch refuses on a GPU in deterministic mode, by the list of torch.use_deterministic_algorithms.
REFUSED = {
    "adaptive_max_pool2d_backward",
    "_adaptive_avg_pool2d_backward",
    "avg_pool3d_backward",
    "max_pool3d_with_indices_backward",
    "fractional_max_pool2d_backward",
    "upsample_bilinear2d_backward",
    "upsample_bicubic2d_backward",
    "upsample_linear1d_backward",
    "grid_sampler_2d_backward",
    "reflection_pad2d_backward",
    "replication_pad2d_backward",
    "nll_loss2d_backward",
    "_embedding_bag_backward",
    "max_unpool2d",
    "histc",
    "kthvalue",
    "put",
}


class Operators(TorchDispatchMode):
    """Notes what operators choose, unless told not to look, and their names."""

    def __init__(self):
        super().__init__()
        self.choices, self.names, self.looking = [], set(), True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.names.add(name)
        if name in CHOOSING and self.looking:
            parts = out if isinstance(out, (tuple, list)) else [out]
            self.choices += [one.clone() for one in parts if one.dtype == torch.int64]
        return out


def losses_of(model, data, told, autocast):
    """Losses, and what was chosen behind the encoders, which say what ``told`` holds, or fill it."""
    operators, answering = Operators(), bool(told)

    def encode(network, inputs, num_source=0):
        operators.looking = False
        if answering:
            network.forward = lambda x: told.pop(0)
        else:
            hook = network.register_forward_hook(lambda _, inputs, out: told.append(out))
        try:
            return BaseReID.encode(model, network, inputs, num_source)
        finally:
            operators.looking = True
            if answering:
                del network.forward
            else:
                hook.remove()

    model.encode = encode
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast), operators:
        losses = model(**data, mode="loss")
    return losses, operators.choices


def buffers_behind_encoders(model):
    return {
        name: buffer.clone() for name, buffer in model.named_buffers() if "encoder." not in name
    }


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


SLOW = "PTL on MGN"


@pytest.mark.parametrize(
    "name", [*sorted(STEPS.keys() - {SLOW}), pytest.param(SLOW, marks=pytest.mark.slow)]
)
def test_a_step(name, deterministic):
    # One set-up for all claims, since it is what takes the time.
    model, optim_wrapper, batch = make_step(name)
    data = model.data_preprocessor(batch, True)

    # Behind the encoders bfloat16 changes no choice, no loss and no memory.
    first, second, told = copy.deepcopy(model), copy.deepcopy(model), []
    losses, choices = losses_of(first, data, told, autocast=True)
    assert {out.embedding.dtype for out in told} == {torch.bfloat16}
    expected, others = losses_of(second, data, list(told), autocast=False)
    assert losses.keys() == expected.keys()
    for key, loss in losses.items():
        assert loss.dtype == torch.float32 and torch.equal(loss, expected[key]), key
    assert len(choices) == len(others)
    assert all(torch.equal(one, other) for one, other in zip(choices, others))
    memory = buffers_behind_encoders(second)
    for key, buffer in buffers_behind_encoders(first).items():
        assert torch.equal(buffer, memory[key]), key

    # A GPU is waited for twice at most; what holds until the next clustering may be looked up before.
    model.train_step(batch, optim_wrapper)
    with without_kernels():  # which normalise a batch on a CPU alone
        waits = synchronizations(lambda: model.train_step(batch, optim_wrapper))
    assert sum(waits.values()) <= 2, waits

    # The whole step has deterministic kernels.
    with Operators() as step:
        model.train_step(batch, optim_wrapper)
    assert "convolution_backward" in step.names and not step.names & REFUSED


def test_waits_are_seen():
    x = torch.arange(4.0)
    assert sum(synchronizations(lambda: x * 2).values()) == 0
    for number, wait in enumerate(
        (
            lambda: x.sum().item(),
            lambda: bool((x > 1).any()),
            lambda: x[x > 1],
            lambda: x.nonzero(),
            lambda: torch.unique(x),
            lambda: x.tolist(),
            lambda: x.numpy(),
            lambda: x.long().bincount(),
        )
    ):
        assert sum(synchronizations(wait).values()) == 1, number


def test_supports_under_autocast_are_those_of_single_precision():
    generator = torch.Generator().manual_seed(0)
    # Features of one network have a direction in common.
    centroids, features = (
        F.normalize(torch.randn(n, 256, generator=generator) + 1, dim=1) for n in (400, 512)
    )
    labels = torch.arange(512) % 400
    expected = support_samples(features, labels, centroids, 0.5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(support_samples(features, labels, centroids, 0.5, 2), expected)
        # What it would have been: another neighbour for many.
        rounded = (features @ centroids.t()).float().scatter_(1, labels[:, None], -2).argmax(1)
    exact = (features @ centroids.t()).scatter_(1, labels[:, None], -2).argmax(1)
    assert (rounded != exact).float().mean() > 0.05


@pytest.mark.parametrize("height", [7, 12, 24])
def test_stripes_and_their_gradients_are_those_of_adaptive_pooling(height):
    maps = torch.randn(3, 2, 5, height, 4, generator=torch.Generator().manual_seed(height))
    ours, others = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    expected = [F.adaptive_max_pool2d(one, 1) for one in others]
    for one, number in zip(others[1:], (2, 3)):
        expected += F.adaptive_max_pool2d(one, (number, 1)).split(1, dim=2)
    found = _pool(list(ours))
    assert len(found) == 8
    for one, other in zip(found, expected):
        assert torch.equal(one, other)
    weights = torch.arange(1.0, 9)
    sum(w * one.sum() for w, one in zip(weights, found)).backward()
    sum(w * one.sum() for w, one in zip(weights, expected)).backward()
    torch.testing.assert_close(ours.grad, others.grad)
