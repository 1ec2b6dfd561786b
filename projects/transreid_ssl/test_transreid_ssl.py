"""TransReID-SSL and PASS: the recipes' numbers, a neck against a slow loop, a tiny transformer through a life cycle."""

import numpy as np
import pytest
import torch
from torch import nn

from mmreid_uda.config import load_config
from mmreid_uda.engine import build_runner
from mmreid_uda.registry import MODELS
from mmreid_uda.testing import build_model, random_batch
from mmreid_uda.utils import InputError
from projects.transreid_ssl.transreid_ssl import TokenNeck

TINY_PASS = "pass_vit-t_synthb"

# ---- recipes


@pytest.mark.parametrize(
    "name, eps, groups",
    [
        ("transreid-ssl_vit-s_market", 0.6, 64),
        ("transreid-ssl_vit-s_market2msmt17", 0.7, 128),
        ("transreid-ssl_vit-s-ics_msmt17", 0.7, 128),
        ("pass_vit-s_market", 0.6, 64),
    ],
)
def test_recipes_have_the_values_of_the_released_scripts(name, eps, groups):
    cfg = load_config(name)
    assert cfg.default_hooks.cluster.clusterer == dict(
        type="JaccardDBSCAN", eps=eps, min_samples=4, k1=30, k2=6
    )
    memory = cfg.model.head.memory
    assert (memory["update"], memory.momentum, cfg.model.head.temperature) == ("hard", 0.2, 0.05)
    sampler = cfg.train_dataloader.batch_sampler
    assert (cfg.global_batch_size, cfg.iters_per_epoch) == (256, 200)
    assert sampler.num_instances == 8 or sampler.num_instances["target"] == 8
    assert cfg.optim_wrapper.optimizer == dict(
        type="SGD", lr=3.5e-4, momentum=0.9, weight_decay=5e-4
    )
    assert "paramwise_cfg" not in cfg.optim_wrapper and cfg.train_cfg.max_epochs == 50
    backbone, norm = cfg.model.encoder.backbone, cfg.model.encoder.norm
    assert backbone.drop_path == 0.3 and norm.samples_per_group == groups
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    for values, expected in (
        (preprocessor.mean, [127.5] * 3),
        (preprocessor.std, [127.5] * 3),
        (preprocessor.erase_value, [0.485, 0.456, 0.406]),
    ):
        assert values.flatten().tolist() == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, parameters, dimension",
    [
        ("transreid-ssl_vit-s_market", 21_640_320, 384),
        ("transreid-ssl_vit-s-ics_market", 23_001_792, 384),
        ("transreid-ssl_vit-b_market", 85_747_968, 768),
        ("pass_vit-s_market", 21_643_392, 768),
        ("pass_vit-s_msmt17", 21_642_624, 384),
        ("pass_vit-s_msmt2market", 21_644_928, 768),
        ("pass_vit-s_market2msmt17", 21_644_928, 384),
    ],
)
def test_encoders_have_the_parameters_of_the_released_ones(name, parameters, dimension):
    with torch.device("meta"):
        encoder = MODELS.build(load_config(name).model.encoder)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.embed_dim == dimension


# ---- the neck


def slow_fusion(tokens, necks, fusion):
    """Image by image and token by token, with statistics of the batch."""
    unit = torch.zeros_like(tokens)
    for t, neck in enumerate(necks):
        column = tokens[:, t]
        scaled = (column - column.mean(0)) / (column.var(0, unbiased=False) + 1e-5).sqrt()
        for i, row in enumerate(scaled * neck.bn.weight + neck.bn.bias):
            unit[i, t] = row / row.square().sum().sqrt()
    mean = (unit[:, 1] + unit[:, 2] + unit[:, 3]) / 3
    if fusion == "mean":
        return (unit[:, 0] + mean) / 2
    return torch.stack([torch.cat(pair) for pair in zip(unit[:, 0], mean)])


@pytest.mark.parametrize("fusion, width", [("cat", 10), ("mean", 5)])
def test_tokens_are_normalized_by_necks_of_their_own_and_fused(fusion, width):
    generator = torch.Generator().manual_seed(0)
    neck = TokenNeck(20, fusion)
    assert neck.out_channels == width and not neck.necks[3].bn.bias.requires_grad
    with torch.no_grad():
        for one in neck.necks:
            nn.init.uniform_(one.bn.weight, generator=generator)
    tokens = torch.randn(6, 4, 5, generator=generator) * 3 + 1
    found = neck(tokens.flatten(1))
    torch.testing.assert_close(found, slow_fusion(tokens, neck.necks, fusion))
    assert (found.norm(dim=1) - 1).abs().min() > 1e-3


def test_tokens_of_unequal_width_are_refused():
    with pytest.raises(InputError, match=r"features of 10 numbers .*expected 4 tokens"):
        TokenNeck(10)


# ---- life cycle

TINY = """
test = [dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)]
iters_per_epoch = 2
train_cfg = dict(max_epochs=4, val_interval=4)
default_hooks["report"] = None
default_hooks["checkpoint"]["save_best"] = None
encoder = dict(backbone=dict(part_tokens=3, output="parts", drop_path=0.3), neck=dict(type="TokenNeck"))
"""
STOP = """
custom_imports = dict(imports=["projects.transreid_ssl.transreid_ssl", "tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""
CONFIG = "projects/transreid_ssl/configs/transreid-ssl_vit-t_synthb.py"


@pytest.mark.slow
def test_a_stopped_run_goes_on_also_with_drop_path(tiny, tmp_path):
    def train(config, name, **options):
        build_runner(load_config(config, {"work_dir": str(tmp_path / name), **options})).train()

    train(tiny(CONFIG, TINY), "whole")
    with pytest.raises(RuntimeError, match="stopped after epoch 2"):
        train(tiny(CONFIG, TINY + STOP, name="stopped"), "halves")
    train(tiny(CONFIG, TINY), "halves", resume=True)
    first, second = (
        torch.load(tmp_path / name / "epoch_4.pth", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    )
    assert first.keys() == second.keys() and "encoder.backbone.net.part_token1" in first
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def share_of_a_batch(rank, world_size):
    """Loss, memory and gradient of the stem of a rank's share of the batch."""
    cfg = load_config(TINY_PASS)
    model = build_model(cfg)
    model.encoder.eval()  # the same features on any number of ranks
    images, samples = random_batch(cfg)
    own = torch.arange(len(images)).view(world_size, -1)[rank]
    losses = model(images[own], samples[own], mode="loss")
    losses["loss_contrast"].backward()
    gradient = model.encoder.backbone.net.patch_embed.proj.weight.grad
    if world_size > 1:
        torch.distributed.all_reduce(gradient)
    values = losses["loss_contrast"], model.head.memory.prototypes, gradient / world_size
    return [value.detach().numpy() for value in values]


@pytest.mark.slow
def test_two_ranks_are_one_rank(run_ranks):
    expected = share_of_a_batch(0, 1)
    for found in run_ranks(share_of_a_batch, args=(2,)):
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
