"""Directions have the norms of the filters, the surface is the loss at each point, and nothing stays behind."""

import numpy as np
import pytest
import torch
from torch import nn

from mmreid_uda.models import EMATeacher
from mmreid_uda.models.heads import ClassifierHead
from mmreid_uda.models.layers import BConvCell
from mmreid_uda.visualization import filter_normalized_direction, loss_surface


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def test_each_filter_has_the_norm_of_the_networks(model):
    direction = filter_normalized_direction(model, seed=1, number=0)
    for parameter, drawn in zip(model.parameters(), direction):
        if parameter.dim() == 1:
            assert not drawn.any()
        else:
            for own, other in zip(parameter, drawn):
                norm = sum(float(value) ** 2 for value in own.flatten()) ** 0.5
                assert other.norm().item() == pytest.approx(norm, rel=1e-4)
    again, other = (filter_normalized_direction(model, 1, number) for number in (0, 1))
    assert torch.equal(again[0], direction[0]) and not torch.equal(other[0], direction[0])


def test_each_row_of_a_classifier_of_branches_is_a_filter():
    head = ClassifierHead(4, num_branches=2)
    head.set_num_classes(6)
    head.weight.data[:, :3] *= 1000
    head.weight.data[1, 2] = 0
    [drawn] = filter_normalized_direction(head, seed=1, number=0)
    torch.testing.assert_close(drawn.norm(dim=2), head.weight.detach().norm(dim=2))


def test_what_is_not_trained_stays_still(model):
    model[0].requires_grad_(False)
    network = nn.ModuleDict(dict(student=model, teacher=EMATeacher(model)))
    for direction, (name, parameter) in zip(
        filter_normalized_direction(network, seed=1, number=0), network.named_parameters()
    ):
        assert direction.shape == parameter.shape
        assert direction.any() == (name == "student.3.weight"), name


def test_the_surface_is_the_loss_at_each_point_and_the_network_comes_back(model):
    model.append(nn.Unflatten(1, (2, 1, 1))).append(BConvCell(2, 1))
    x = torch.randn(5, 3, 4, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def loss():  # in train mode: statistics and latent state move with every call
        return float(model(x).square().sum())

    directions = [filter_normalized_direction(model, 0, number) for number in (0, 1)]
    model[-1].init_std = 0.0
    surface = loss_surface(model, loss, directions, [-0.5, 0.0, 0.5])
    assert {n: t.tolist() for n, t in model.state_dict().items()} == {
        n: t.tolist() for n, t in before.items()
    }
    for row, a in enumerate([-0.5, 0.0, 0.5]):
        for column, b in enumerate([-0.5, 0.0, 0.5]):
            state = dict(before)
            for (name, parameter), one, other in zip(model.named_parameters(), *directions):
                state[name] = parameter.detach() + a * one + b * other
            model.load_state_dict(state)
            assert surface[row, column] == pytest.approx(loss(), rel=1e-5)
            model.load_state_dict(before)
    assert np.isfinite(surface).all()
