"""Moments of classifiers that change in size, mixed precision without a GPU, layer-wise learning rates."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmreid_uda.engine import AmpOptimWrapper
from mmreid_uda.engine.optim import fit_moments
from mmreid_uda.models.algorithms import ABMT, ClusterBaseline
from mmreid_uda.models.heads import FATHead
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import InputError

ENCODER = dict(type="ReIDEncoder", backbone=dict(type="MobileNetV2", width_mult=0.1), norm=None)
BRANCHES = dict(ENCODER, type="AsymmetricBranchEncoder"), dict(type="ClassifierHead")


def relabel(model, classes):
    labels = torch.arange(3 * classes) % classes
    model.on_relabel(PseudoLabelState(0, labels, torch.randn(len(labels), 1280)))


def step(model, optimizer):
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def test_new_rows_start_without_moments_and_all_else_keeps_its_own():
    model = ClusterBaseline(ENCODER, dict(type="ClassifierHead"))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    rows, bias = model.head.weight, model.encoder.neck.bn.weight
    for classes in (4, 6, 6, 3):
        relabel(model, classes)
        fit_moments(optimizer, model)
        assert rows not in optimizer.state
        before = rows.detach().clone()
        step(model, optimizer)
        torch.testing.assert_close(rows, before - 0.1)
        assert optimizer.state[rows]["exp_avg"].shape == rows.shape == (1, classes, 1280)
    assert optimizer.state[bias]["step"] == 4
    fit_moments(optimizer, model)
    assert optimizer.state[rows]["step"] == 1, "nothing was relabelled"


def test_rows_that_keep_their_meaning_keep_their_moments():
    head = FATHead(in_channels=4)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
    labels, rows = torch.arange(6) % 3, head.classifier.weight
    for _ in range(2):
        head.on_relabel(PseudoLabelState(0, labels, torch.randn(6, 4)))
        fit_moments(optimizer, head)
        step(head, optimizer)
    torch.testing.assert_close(optimizer.state[rows]["momentum_buffer"], torch.full((1, 3, 4), 1.9))


def test_a_checkpoint_of_fixed_capacity_resumes():
    """Version 0.1: nine rows in the optimiser as in the classifier, of which four took part."""
    model = ABMT(*BRANCHES)
    optimizer = torch.optim.Adam(model.parameters())
    model.on_relabel(PseudoLabelState(0, torch.arange(4), torch.randn(4, 2560)))
    fit_moments(optimizer, model)
    step(model.students, optimizer)
    old, moments = model.state_dict(), optimizer.state_dict()
    place = [name for name, _ in model.named_parameters()].index("students.0.head.weight")
    moments["state"][place]["exp_avg"] = torch.rand(2, 9, 1280)
    moments["state"][place]["exp_avg_sq"] = torch.rand(2, 9, 1280)
    for name in ("students.0.head.", "teachers.0.module.head."):
        old[name + "weight"] = torch.randn(2, 9, 1280)
        old[name + "active"] = torch.tensor(4)

    resumed = ABMT(*BRANCHES)
    optimizer = torch.optim.Adam(resumed.parameters())
    resumed.load_state_dict(old)
    optimizer.load_state_dict(moments)
    fit_moments(optimizer, resumed)
    rows = resumed.head.weight
    assert torch.equal(rows, old["students.0.head.weight"][:, :4])
    assert torch.equal(optimizer.state[rows]["exp_avg"], moments["state"][place]["exp_avg"][:, :4])
    step(resumed.students, optimizer)
    assert optimizer.state[rows]["step"] == 2


# ---- mixed precision


def wrapper_of(model, **options):
    return AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), **options)


@pytest.mark.parametrize(
    "native, asked, dtype",
    [
        (True, None, torch.bfloat16),
        (False, None, torch.float16),
        (True, "float16", torch.float16),
        (False, "bfloat16", torch.bfloat16),
    ],
)
@pytest.mark.filterwarnings("ignore:.*GradScaler is enabled:UserWarning")
def test_the_type_is_what_the_card_computes_in(monkeypatch, native, asked, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation
    )
    scaled = []
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device, enabled, **options: scaled.append((device, enabled))
    )
    assert wrapper_of(nn.Linear(2, 2), dtype=asked).dtype is dtype
    assert scaled == [("cuda", dtype is torch.float16)]


def test_scaled_steps_are_those_of_single_precision_and_the_scale_is_kept():
    """The scaler on the CPU, which has all but autocast to float16."""
    torch.manual_seed(0)
    models = [nn.Linear(4, 3) for _ in range(3)]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    x, wrappers = torch.randn(5, 4), [wrapper_of(model) for model in models]
    for wrapper in wrappers[1:]:
        wrapper.loss_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    wrappers[2].clip_grad_kwargs, wrappers[2].clip_func = (
        dict(max_norm=1e9),
        nn.utils.clip_grad_norm_,
    )
    wrappers[2].grad_name = "grad_norm"
    for _ in range(2):
        for model, wrapper in zip(models, wrappers):
            wrapper.update_params(model(x).square().mean())
    for model in models[1:]:
        torch.testing.assert_close(model.weight, models[0].weight)
    # A step that is not finite is left out.
    before = models[1].weight.detach().clone()
    wrappers[1].update_params(models[1](x).sum() * float("inf"))
    assert torch.equal(models[1].weight, before) and wrappers[1].loss_scaler.get_scale() == 512.0
    fresh = wrapper_of(nn.Linear(4, 3))
    fresh.loss_scaler = torch.amp.GradScaler("cpu")
    fresh.load_state_dict(wrappers[1].state_dict())
    assert fresh.loss_scaler.get_scale() == 512.0
    wrapper_of(nn.Linear(4, 3)).load_state_dict(wrappers[1].state_dict())  # a run without it
    with pytest.raises(InputError, match="dtype='half'"):
        wrapper_of(models[0], dtype="half")


# ----------------------------------------------------------------------------------------------------- layer-wise rates

TINY_VIT = dict(
    type="TimmBackbone",
    name="vit_tiny_patch16_224",
    depth=3,
    embed_dim=24,
    num_heads=2,
    img_size=(64, 32),
)


def rates(backbone, **paramwise):
    """Rate and weight decay of every parameter by name, in units of the config's."""
    model = ClusterBaseline(
        dict(type="ReIDEncoder", backbone=backbone), dict(type="ClassifierHead")
    )
    cfg = dict(
        type="OptimWrapper",
        constructor="mmreid_uda.LayerDecayOptimWrapperConstructor",
        paramwise_cfg=paramwise,
        optimizer=dict(type="SGD", lr=0.1, weight_decay=0.2),
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[group["params"][0]]: (group["lr"] / 0.1, group["weight_decay"] / 0.2)
        for group in groups
    }


def test_rates_of_a_transformer_decay_block_by_block_towards_the_patches():
    found = {name: lr for name, (lr, _) in rates(TINY_VIT, decay_rate=0.5).items()}
    net = "encoder.backbone.net"
    expected = {
        "pos_embed": 1 / 8,
        "cls_token": 1 / 8,
        "patch_embed.proj.bias": 1 / 8,
        "blocks.0.attn.qkv.weight": 1 / 4,
        "blocks.1.norm1.bias": 1 / 2,
        "blocks.2.mlp.fc2.weight": 1,
        "norm.weight": 1,
    }
    for name, factor in expected.items():
        assert found[f"{net}.{name}"] == pytest.approx(factor), name
    assert found["encoder.neck.bn.weight"] == found["head.weight"] == pytest.approx(1)
    assert len(found) == 4 + 3 * 12 + 2 + 2


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (
            dict(type="ResNet", depth=18),
            {"conv1.weight": 1 / 16, "layer1.0.bn1.bias": 1 / 8, "layer4.1.conv2.weight": 1},
        ),
        (
            dict(type="TimmBackbone", name="resnet18"),
            {
                "net.bn1.weight": 1 / 16,
                "net.layer3.0.conv1.weight": 1 / 2,
                "net.layer4.0.bn1.weight": 1,
            },
        ),
    ],
)
def test_rates_of_a_convolutional_network_decay_stage_by_stage(backbone, expected):
    found = {name: lr for name, (lr, _) in rates(backbone, decay_rate=0.5).items()}
    for name, factor in expected.items():
        assert found[f"encoder.backbone.{name}"] == pytest.approx(factor), name


def test_weight_decay_may_spare_vectors_and_names_beside_it():
    keys = {"pos_embed": dict(decay_mult=0), "cls_token": dict(decay_mult=0)}
    decays = {
        name: decay
        for name, (_, decay) in rates(
            TINY_VIT, decay_rate=0.5, flat_decay_mult=0, custom_keys=keys
        ).items()
    }
    spared = {name for name, decay in decays.items() if decay == 0}
    net = "encoder.backbone.net"
    assert {f"{net}.pos_embed", f"{net}.cls_token", f"{net}.norm.weight"} <= spared
    assert (
        f"{net}.blocks.0.attn.qkv.bias" in spared
        and f"{net}.blocks.0.attn.qkv.weight" not in spared
    )
    plain = rates(TINY_VIT, decay_rate=0.5)
    assert all(decay == pytest.approx(1) for _, decay in plain.values())


@pytest.mark.parametrize(
    ("paramwise", "message"),
    [({}, "found no decay_rate"), (dict(decay_rate=1.5), "found decay_rate=1.5")],
)
def test_a_rate_of_decay_that_is_none_is_refused(paramwise, message):
    with pytest.raises(InputError, match=message):
        rates(TINY_VIT, **paramwise)
