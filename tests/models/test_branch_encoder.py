"""AsymmetricBranchEncoder: the size the paper's network has, two different branches, weights of the last stage."""

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.encoders import AsymmetricBranchEncoder
from mmreid_uda.models.layers import DomainBN, GhostBN
from mmreid_uda.utils import InputError

SMALL = dict(type="MobileNetV2", width_mult=0.1)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parameters_are_as_many_as_in_the_released_network():
    encoder = AsymmetricBranchEncoder(dict(type="ResNet", depth=50, stem_relu=False))
    assert count(encoder.backbone) == 23_508_032
    assert count(encoder.second_stage) == 14_964_736
    assert count(encoder.extra) == 4_462_592
    assert count(encoder) == 42_943_552
    assert encoder.embed_dim == 4096 and encoder.num_branches == 2
    frozen = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert frozen == ["neck.bn.bias", "second_neck.bn.bias"]


@pytest.mark.parametrize("depth", [18, 50])
def test_both_features_are_those_of_a_slow_forward(depth):
    torch.manual_seed(0)
    encoder = AsymmetricBranchEncoder(dict(type="ResNet", depth=depth)).eval()
    x = torch.randn(2, 3, 64, 32)
    out = encoder(x)
    shared = encoder.backbone.trunk(x)
    g = encoder.backbone.layer4(shared).mean((2, 3))
    m = encoder.extra[0](encoder.second_stage(shared)).amax((2, 3))
    torch.testing.assert_close(out.pooled, torch.cat([g, m], 1))
    torch.testing.assert_close(
        out.embedding, torch.cat([encoder.neck(g), encoder.second_neck(m)], 1)
    )
    torch.testing.assert_close(out.normalized, F.normalize(out.embedding, dim=1))


def test_without_extra_block_and_with_equal_pooling_the_branches_start_equal():
    encoder = AsymmetricBranchEncoder(SMALL, second_pool=dict(type="GlobalAvgPool"), extra_blocks=0)
    encoder.init_weights()
    g, m = encoder(torch.randn(2, 3, 64, 32)).pooled.chunk(2, dim=1)
    assert torch.equal(g, m)


def test_pretrained_weights_reach_both_last_stages(tmp_path):
    torch.manual_seed(0)
    source = AsymmetricBranchEncoder(SMALL).backbone
    torch.save(source.state_dict(), tmp_path / "backbone.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "backbone.pth"))
    encoder = AsymmetricBranchEncoder(dict(SMALL, init_cfg=init))
    encoder.init_weights()
    for name, tensor in source.last_stage().state_dict().items():
        assert torch.equal(encoder.second_stage.state_dict()[name], tensor), name


def test_weights_of_the_whole_encoder_keep_their_branches(tmp_path):
    torch.manual_seed(0)
    trained = AsymmetricBranchEncoder(SMALL)
    for parameter in trained.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    state = {f"encoder.{name}": tensor for name, tensor in trained.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / "source.pth")
    init = dict(type="Pretrained", checkpoint=str(tmp_path / "source.pth"))
    encoder = AsymmetricBranchEncoder(SMALL, init_cfg=init)
    encoder.init_weights()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor), name


@pytest.mark.parametrize("norm", [dict(type="GhostBN", samples_per_group=2), dict(type="DomainBN")])
def test_the_normalization_of_both_branches_is_replaced(norm):
    encoder = AsymmetricBranchEncoder(SMALL, norm=norm)
    kind = GhostBN if norm["type"] == "GhostBN" else DomainBN
    for part in (encoder.backbone, encoder.second_stage, encoder.extra, encoder.second_neck):
        assert any(isinstance(module, kind) for module in part.modules())
    encoder.init_weights()
    assert encoder(torch.randn(4, 3, 64, 32)).pooled.shape == (4, encoder.feat_dim)


def test_a_backbone_that_cannot_be_branched_is_named():
    with pytest.raises(
        InputError, match=r"found the backbone Plain .* expected ResNet or MobileNetV2"
    ):
        AsymmetricBranchEncoder(dict(type=Plain))


class Plain(torch.nn.Module):
    feat_dim = 8

    def forward(self, x):
        return x
