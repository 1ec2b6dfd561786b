"""Necks: what comes after pooling."""

import torch
from torch import nn

from mmreid_uda.models.necks import BNNeck, EmbeddingNeck


def features():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(0))


def test_bn_neck_is_batch_normalization_with_scale_1_and_frozen_shift_0():
    neck = BNNeck(6)
    assert neck.out_channels == 6
    assert neck.bn.weight.tolist() == [1.0] * 6 and neck.bn.weight.requires_grad
    assert neck.bn.bias.tolist() == [0.0] * 6 and not neck.bn.bias.requires_grad
    assert torch.equal(neck(features()), nn.BatchNorm1d(6)(features()))


def test_the_shift_learns_on_request():
    assert BNNeck(6, freeze_bias=False).bn.bias.requires_grad


def test_embedding_neck_follows_its_formula():
    neck = EmbeddingNeck(6, embed_dim=4, dropout=0.0)
    f = features()
    h = f @ neck.fc.weight.T + neck.fc.bias
    h = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt() * neck.bn.weight + neck.bn.bias
    torch.testing.assert_close(neck(f), torch.where(h > 0, h, 0.1 * h))
    assert neck.out_channels == 4


def test_embedding_neck_starts_as_in_the_official_code():
    neck = EmbeddingNeck(512, embed_dim=256)
    assert abs(neck.fc.weight.std().item() - (2 / 256) ** 0.5) < 0.002
    assert neck.fc.bias.abs().max() == 0
    assert abs(neck.bn.weight.mean().item() - 1) < 0.01 and 0.015 < neck.bn.weight.std() < 0.025


def test_dropout_acts_in_train_mode_only():
    neck = EmbeddingNeck(6, embed_dim=64, dropout=0.5)
    assert 0.3 < (neck(features()) == 0).float().mean() < 0.7
    assert (neck.eval()(features()) == 0).sum() == 0
