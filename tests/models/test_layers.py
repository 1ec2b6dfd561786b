"""Pooling, IBN, ghost and domain-specific batch normalisation, and their conversion."""

import copy

import pytest
import torch
from torch import nn

from mmreid_uda.models.layers import (
    IBN,
    DomainBN,
    GeM,
    GhostBN,
    GlobalAvgPool,
    GlobalMaxPool,
    convert_norm,
    domain_split,
)
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

MAP = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)


def randomized(norm, seed=0):
    """The same layer with weights and statistics that are not the neutral ones."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*norm.parameters(), *norm.buffers()]:
        if tensor.is_floating_point():
            tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return norm


def batch(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------------------------- pooling


def test_gem_of_the_published_map():
    assert GeM(p=3)(MAP).item() == pytest.approx(2.924018, abs=1e-6)


def test_gem_lies_between_average_and_maximum_and_reaches_both():
    x = batch(2, 5, 4, 3).abs()
    torch.testing.assert_close(GeM(p=1)(x), GlobalAvgPool()(x))
    torch.testing.assert_close(GeM(p=30)(x), GlobalMaxPool()(x), rtol=0.1, atol=0)
    assert (GeM()(x) > GlobalAvgPool()(x)).all() and (GeM()(x) < GlobalMaxPool()(x)).all()


def test_gem_equals_the_loop_over_its_formula():
    x, p = batch(2, 3, 4, 2), 2.5
    expected = [
        [sum(max(v, 1e-6) ** p for v in channel.flatten().tolist()) / 8 for channel in image]
        for image in x
    ]
    torch.testing.assert_close(GeM(p)(x), torch.tensor(expected) ** (1 / p))


def test_gem_learns_its_exponent_unless_told_not_to():
    learned, fixed = GeM(), GeM(learnable=False)
    learned(MAP).sum().backward()
    # d/dp (mean x^p)^(1/p) by central differences
    numeric = (GeM(3.01)(MAP) - GeM(2.99)(MAP)).item() / 0.02
    assert learned.p.grad.item() == pytest.approx(numeric, rel=1e-3)
    assert not list(fixed.parameters())
    assert list(fixed.state_dict()) == list(learned.state_dict()) == ["p"]


def test_gem_in_half_precision_does_not_overflow():
    x = torch.full((1, 1, 2, 2), 100.0, dtype=torch.float16)
    pooled = GeM()(x)
    assert pooled.dtype == torch.float16
    assert pooled.item() == pytest.approx(100, rel=1e-2)


# -------------------------------------------------------------------------------------------------------------- IBN


def test_ibn_normalizes_the_first_half_per_image_and_the_second_per_batch():
    x = batch(4, 7, 6, 5) * 3 + 1
    ibn = IBN(7)
    out = ibn(x)
    assert ibn.IN.num_features == 3 and ibn.BN.num_features == 4
    torch.testing.assert_close(out[:, :3], nn.InstanceNorm2d(3)(x[:, :3]))
    torch.testing.assert_close(out[:, 3:], nn.BatchNorm2d(4)(x[:, 3:]))


# --------------------------------------------------------------------------------------------------------- ghost BN


@pytest.mark.parametrize("shape", [(12, 5), (12, 5, 3), (12, 5, 3, 2)])
def test_ghost_bn_is_plain_bn_on_each_chunk_and_keeps_the_statistics_of_the_first(shape):
    ghost = randomized(GhostBN(5, samples_per_group=4))
    plain = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](5)
    plain.load_state_dict(ghost.state_dict())
    weight = batch(*shape, seed=1)

    x = batch(*shape).requires_grad_()
    out = ghost(x)
    (out * weight).sum().backward()

    y = x.detach().clone().requires_grad_()
    replicas = [copy.deepcopy(plain) for _ in range(3)]
    expected = torch.cat([bn(chunk) for bn, chunk in zip(replicas, y.chunk(3))])
    (expected * weight).sum().backward()

    assert torch.equal(out, expected)
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ghost.weight.grad, sum(bn.weight.grad for bn in replicas))
    torch.testing.assert_close(ghost.bias.grad, sum(bn.bias.grad for bn in replicas))
    for name, buffer in replicas[0].named_buffers():
        assert torch.equal(ghost.get_buffer(name), buffer), name
    assert not torch.equal(ghost.running_mean, replicas[1].running_mean)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_ghost_bn_can_keep_the_mean_of_all_statistics(momentum):
    ghost = randomized(GhostBN(5, momentum=momentum, samples_per_group=4, stats="mean"))
    plain = nn.BatchNorm2d(5, momentum=momentum)
    plain.load_state_dict(ghost.state_dict())
    for step in range(2):
        x = batch(12, 5, 3, 2, seed=step)
        replicas = [copy.deepcopy(plain) for _ in range(3)]
        expected = torch.cat([bn(chunk) for bn, chunk in zip(replicas, x.chunk(3))])
        plain.running_mean = torch.stack([bn.running_mean for bn in replicas]).mean(0)
        plain.running_var = torch.stack([bn.running_var for bn in replicas]).mean(0)
        plain.num_batches_tracked += 1
        torch.testing.assert_close(ghost(x), expected)
        torch.testing.assert_close(ghost.running_mean, plain.running_mean)
        torch.testing.assert_close(ghost.running_var, plain.running_var)
        assert ghost.num_batches_tracked == plain.num_batches_tracked


@pytest.mark.parametrize("stats", ["first", "mean"])
def test_two_forwards_before_one_backward_are_allowed(stats):
    ghost = GhostBN(3, samples_per_group=2, stats=stats)
    (ghost(batch(4, 3)).sum() + ghost(batch(2, 3, seed=1)).pow(2).sum()).backward()
    assert torch.isfinite(ghost.weight.grad).all()


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(64, [16] * 4), (17, [17]), (33, [16, 17]), (47, [16, 31]), (5, [5])]
)
def test_a_remainder_joins_the_last_group_so_that_no_group_is_too_small(batch_size, sizes):
    ghost = GhostBN(2, samples_per_group=16)
    assert ghost.group_sizes(batch_size) == sizes
    x = batch(batch_size, 2)
    expected = torch.cat([nn.BatchNorm1d(2)(group) for group in x.split(sizes)])
    assert torch.equal(ghost(x), expected)


def test_ghost_bn_without_group_size_and_in_eval_mode_is_plain_bn():
    x = batch(8, 5, 3, 2)
    plain = randomized(nn.BatchNorm2d(5))
    whole = GhostBN(5)
    grouped = GhostBN(5, samples_per_group=2)
    whole.load_state_dict(plain.state_dict())
    grouped.load_state_dict(plain.state_dict())
    assert list(grouped.state_dict()) == list(plain.state_dict())
    assert torch.equal(grouped.eval()(x), plain.eval()(x))
    assert torch.equal(whole.train()(x), plain.train()(x))


def test_wrong_settings_are_named():
    with pytest.raises(InputError, match="samples_per_group=0"):
        GhostBN(2, samples_per_group=0)
    with pytest.raises(InputError, match="stats='last'"):
        GhostBN(2, stats="last")
    with pytest.raises(InputError, match="eval_domain='both'"):
        DomainBN(2, eval_domain="both")
    with pytest.raises(InputError, match="NoSuchNorm"):
        convert_norm(nn.BatchNorm2d(2), {"type": "NoSuchNorm"})


# -------------------------------------------------------------------------------------------------------- domain BN


def two_plain(domain_bn):
    """Plain layers with the state of the source and of the target."""
    pair = []
    for layer in (domain_bn.source, domain_bn.target):
        plain = nn.BatchNorm2d(layer.num_features)
        plain.load_state_dict(layer.state_dict())
        pair.append(plain)
    return pair


def different_domains(**kwargs):
    layer = DomainBN(5, **kwargs)
    randomized(layer.source, seed=1)
    randomized(layer.target, seed=2)
    return layer


def test_domain_bn_normalizes_the_halves_apart():
    layer = different_domains()
    source, target = two_plain(layer)
    x = batch(6, 5, 3, 2)
    assert torch.equal(layer(x), torch.cat([source(x[:3]), target(x[3:])]))
    assert torch.equal(layer.source.running_var, source.running_var)
    assert torch.equal(layer.target.running_mean, target.running_mean)


@pytest.mark.parametrize("num_source", [0, 2, 5, 7])
def test_domain_split_moves_the_boundary_and_puts_it_back(num_source):
    model = nn.Sequential(different_domains())
    source, target = two_plain(model[0])
    x = batch(7, 5, 3, 2)
    parts = [
        bn(part) for bn, part in ((source, x[:num_source]), (target, x[num_source:])) if len(part)
    ]
    if num_source == 0:
        parts = [target(x)]
    with domain_split(model, num_source):
        assert torch.allclose(model(x), torch.cat(parts))
    with pytest.raises(InputError, match="7 samples"):
        model(x)  # odd, and the boundary is forgotten


def test_a_boundary_behind_the_batch_is_an_error():
    model = DomainBN(5)
    with domain_split(model, 9), pytest.raises(InputError, match="announced 9 source"):
        model(batch(4, 5))


def test_eval_mode_uses_the_target_for_everything_or_the_source_on_request():
    model = nn.Sequential(different_domains()).eval()
    source, target = two_plain(model[0])
    x = batch(3, 5, 2, 2)
    assert torch.equal(model(x), target.eval()(x))
    model[0].eval_domain = "source"
    assert torch.equal(model(x), source.eval()(x))


def test_domain_bn_with_ghost_groups_keeps_groups_inside_each_domain():
    layer = different_domains(samples_per_group=2)
    source, target = two_plain(layer)
    x = batch(8, 5, 3, 2)
    expected = torch.cat([source(x[:2]), source(x[2:4]), target(x[4:6]), target(x[6:])])
    assert torch.equal(layer(x), expected)


def test_a_plain_checkpoint_fills_both_domains():
    plain = nn.Sequential(nn.Conv2d(3, 5, 1), randomized(nn.BatchNorm2d(5)))
    model = nn.Sequential(nn.Conv2d(3, 5, 1), DomainBN(5))
    result = model.load_state_dict(plain.state_dict())
    assert not result.missing_keys and not result.unexpected_keys
    for layer in (model[1].source, model[1].target):
        for name, value in plain[1].state_dict().items():
            assert torch.equal(layer.state_dict()[name], value)


def test_its_own_checkpoint_keeps_the_domains_apart():
    layer, other = different_domains(), DomainBN(5)
    other.load_state_dict(layer.state_dict())
    assert not torch.equal(other.source.weight, other.target.weight)
    assert torch.equal(other.source.weight, layer.source.weight)


# ------------------------------------------------------------------------------------------------------- conversion


def tree():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Sequential(IBN(8), nn.BatchNorm2d(8, eps=1e-3, momentum=0.2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.BatchNorm1d(8),
    )
    model[3].bias.requires_grad_(False)
    model[1][1].eval()
    return randomized(model)


@pytest.mark.parametrize("cfg", [{"type": "GhostBN", "samples_per_group": 2}, {"type": "DomainBN"}])
def test_conversion_keeps_weights_buffers_flags_and_the_function_in_eval_mode(cfg):
    model = tree()
    x = batch(4, 3, 2, 2)
    converted = convert_norm(copy.deepcopy(model), cfg)
    kind = MODELS.get(cfg["type"])
    assert isinstance(converted[1][0].BN, kind) and isinstance(converted[3], kind)
    assert isinstance(converted[1][0].IN, nn.InstanceNorm2d)
    layer = converted[1][1] if kind is GhostBN else converted[1][1].target
    assert (layer.eps, layer.momentum) == (1e-3, 0.2)
    assert not converted[1][1].training and converted[3].training
    torch.testing.assert_close(converted.eval()(x), model.eval()(x))


def test_ghost_conversion_keeps_the_names_of_all_tensors():
    model = tree()
    converted = convert_norm(copy.deepcopy(model), {"type": "GhostBN", "samples_per_group": 2})
    assert {k: v.tolist() for k, v in converted.state_dict().items()} == {
        k: v.tolist() for k, v in model.state_dict().items()
    }


def test_a_frozen_bias_stays_frozen_unless_the_conversion_of_spcl_is_asked_for():
    ours = convert_norm(tree(), {"type": "DomainBN"})
    spcl = convert_norm(tree(), {"type": "DomainBN", "keep_frozen": False})
    assert not ours[3].source.bias.requires_grad and not ours[3].target.bias.requires_grad
    assert ours[3].target.weight.requires_grad
    assert spcl[3].source.bias.requires_grad and spcl[3].target.bias.requires_grad


def test_a_single_layer_is_replaced():
    converted = convert_norm(randomized(nn.BatchNorm1d(4)), {"type": "GhostBN"})
    assert isinstance(converted, GhostBN) and converted.samples_per_group is None


def test_copies_for_teachers_do_not_share_state():
    model = nn.Sequential(different_domains())
    teacher = copy.deepcopy(model)
    model(batch(4, 5))
    assert not torch.equal(teacher[0].target.running_mean, model[0].target.running_mean)
