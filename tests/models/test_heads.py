"""What all heads share; ClusterMemoryHead: a hand-checked example, and the order of loss and update."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.algorithms import ClusterContrast
from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import ClassifierHead, ClusterMemoryHead, FATHead, PTLHead
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import InputError


def make_head(**memory):
    head = ClusterMemoryHead(memory=dict(type="ClusterMemory", **memory))
    rows = F.normalize(torch.tensor([[1, 0.2], [0.3, 1], [-1, 0.5]]), dim=1)
    head.on_relabel(PseudoLabelState(epoch=0, labels=torch.arange(3), features=rows))
    return head


def batch():
    features = F.normalize(torch.tensor([[0.9, 0.1], [1, 0.8], [0.1, 0.9]]), dim=1).requires_grad_()
    return features, ReIDDataSample(
        gt_label=torch.tensor([0, 0, 1]), sample_idx=torch.arange(3), domain=torch.ones(3)
    )


def test_loss_and_gradient_are_those_of_the_memory_before_the_update():
    encoder = dict(type="ReIDEncoder", backbone=dict(type="MobileNetV2", width_mult=0.1))
    model = ClusterContrast(encoder)
    model.head = head = make_head(update="momentum", momentum=0.1)
    features, samples = batch()
    model.encode = lambda *_: EncoderOutput(features, features)
    model.outputs = lambda *_: SimpleNamespace(
        normalized=features
    )  # its gradient is the expected one
    loss = model(torch.zeros(3), samples, mode="loss")["loss_contrast"]
    loss.backward()
    assert loss.item() == pytest.approx(0.079646, abs=1e-5)
    torch.testing.assert_close(
        features.grad[1], torch.tensor([-0.982215, 1.079238]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        head.memory.prototypes[0], torch.tensor([0.813147, 0.582058]), atol=1e-5, rtol=0
    )


def test_the_loss_equals_a_slow_loop():
    head = make_head()
    features, samples = batch()
    rows, expected = head.memory.prototypes.clone(), 0.0
    for x, y in zip(features.detach(), samples.gt_label):
        logits = [float(x @ row) / 0.05 for row in rows]
        expected += float(torch.logsumexp(torch.tensor(logits), 0)) - logits[y]
    assert F.cross_entropy(head.compare(features), samples.gt_label).item() == pytest.approx(
        expected / 3, abs=1e-5
    )


def test_autocast_does_not_touch_the_logits():
    head = make_head()
    features, _ = batch()
    exact = head.compare(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.compare(features), exact)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(InputError, match="temperature"):
        ClusterMemoryHead(temperature=0)


@pytest.mark.parametrize("kind", [ClassifierHead, ClusterMemoryHead, FATHead, PTLHead])
def test_all_heads_follow_the_clusters_and_compare_a_batch_with_each(kind):
    head = kind() if kind is ClusterMemoryHead else kind(in_channels=4)
    for epoch, classes in enumerate((3, 5)):
        labels, features = torch.arange(10) % classes, torch.randn(10, 4)
        head.on_relabel(PseudoLabelState(epoch, labels, F.normalize(features, dim=1)))
        assert head.num_classes == classes
        features, logits = head(EncoderOutput(torch.randn(6, 4), torch.randn(6, 4)))
        assert features.shape[-2:] == (6, 4) and logits.shape[-2:] == (6, classes)


def test_classifiers_of_parts_start_anew_after_a_clustering():
    head = PTLHead(in_channels=4, num_branches=2)
    rows = []
    for epoch in (0, 1, 1):
        head.on_relabel(PseudoLabelState(epoch, torch.arange(3), torch.randn(3, 4), seed=7))
        rows.append([layers[-1].weight.detach().clone() for layers in head.classifiers])
    (first, _), (second, other), (again, _) = rows
    assert not torch.equal(first, second) and not torch.equal(second, other)
    assert torch.equal(second, again)
