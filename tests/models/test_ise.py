"""ISE: support samples, label-preserving loss, and the whole loss on a hand-checked example."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmreid_uda.models.heads import ClusterMemoryHead
from mmreid_uda.models.layers import support_samples
from mmreid_uda.models.losses import LabelPreservingLoss
from mmreid_uda.structures import PseudoLabelState
from mmreid_uda.utils import InputError

MEMORY = F.normalize(torch.tensor([[1, 0.2], [0.3, 1], [-1, 0.5]]), dim=1)
FEATURES = F.normalize(torch.tensor([[0.9, 0.1], [1, 0.8], [0.1, 0.9], [-0.2, 1]]), dim=1)
LABELS = torch.tensor([0, 0, 1, 1])
SCALE = 0.5 * math.log((math.e - 1) * 0.5 + 1)  # lambda at half of the training
SUPPORTS = torch.tensor(
    [[0.968339, 0.249639], [0.671657, 0.740862], [-0.079312, 0.996850], [-0.387865, 0.921716]]
)


def test_supports_are_those_of_the_worked_example():
    supports = support_samples(FEATURES, LABELS, MEMORY, SCALE)
    torch.testing.assert_close(supports, SUPPORTS, atol=1e-5, rtol=0)


def test_supports_equal_a_slow_loop_for_several_neighbors():
    generator = torch.Generator().manual_seed(3)
    centroids = F.normalize(torch.randn(6, 5, generator=generator), dim=1)
    features = F.normalize(torch.randn(8, 5, generator=generator), dim=1)
    labels = torch.randint(0, 6, (8,), generator=generator)
    expected = []
    for x, y in zip(features, labels.tolist()):
        others = sorted((c for c in range(6) if c != y), key=lambda c: -float(x @ centroids[c]))
        for other in others[:3]:
            expected.append(F.normalize(x + 0.3 * 0.5 * (centroids[other] - centroids[y]), dim=0))
    torch.testing.assert_close(
        support_samples(features, labels, centroids, 0.3, 3), torch.stack(expected)
    )


def test_the_gradient_of_a_support_goes_through_the_feature_alone():
    features = FEATURES.clone().requires_grad_()
    memory = MEMORY.clone()
    support_samples(features, LABELS, memory, SCALE).sum().backward()
    assert features.grad is not None and memory.grad is None


def test_too_few_clusters_for_a_neighbor_are_named():
    with pytest.raises(InputError, match="found 3 clusters"):
        support_samples(FEATURES, LABELS, MEMORY, SCALE, num_neighbors=3)


def slow_label_preserving(features, labels, supports, support_labels, tau, positive_below):
    losses = []
    for x, y in zip(features, labels.tolist()):
        e = {j: math.exp(float(x @ s) / tau) for j, s in enumerate(supports)}
        positive = min(e[j] for j in e if support_labels[j] == y)
        negative = sum(
            max(e[j] for j in e if support_labels[j] == c)
            for c in set(support_labels.tolist())
            if c != y
        )
        below = negative + positive if positive_below else negative
        losses.append(-math.log(positive / (below + 1e-6) + 1e-6))
    return sum(losses) / len(losses)


def test_label_preserving_loss_of_the_worked_example():
    loss = LabelPreservingLoss(temperature=0.6)
    assert loss(FEATURES, LABELS, SUPPORTS, LABELS).item() == pytest.approx(0.442933, abs=1e-5)
    each = [loss(FEATURES[i : i + 1], LABELS[i : i + 1], SUPPORTS, LABELS).item() for i in range(4)]
    assert each == pytest.approx([0.264013, 0.442649, 0.642226, 0.422844], abs=1e-5)
    poster = LabelPreservingLoss(temperature=0.6, positive_in_denominator=False)
    assert poster(FEATURES, LABELS, SUPPORTS, LABELS).item() == pytest.approx(-0.632200, abs=1e-5)


@pytest.mark.parametrize("positive_below", [True, False])
def test_label_preserving_loss_equals_a_slow_loop_on_uneven_classes(positive_below):
    generator = torch.Generator().manual_seed(5)
    features = F.normalize(torch.randn(11, 7, generator=generator), dim=1)
    supports = F.normalize(torch.randn(22, 7, generator=generator), dim=1)
    labels = torch.tensor([4, 4, 4, 9, 9, 2, 2, 2, 2, 7, 7])  # not in blocks of equal size
    loss = LabelPreservingLoss(0.6, positive_below)(features, labels, supports, labels.repeat(2))
    expected = slow_label_preserving(
        features, labels, supports, labels.repeat(2), 0.6, positive_below
    )
    assert loss.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "memory, rows",
    [
        (dict(update="hard", momentum=0.2), [[0.757596, 0.652723], [-0.262611, 0.964902]]),
        (dict(update="momentum", momentum=0.1), [[0.709696, 0.704508], [-0.359413, 0.933179]]),
    ],
)
def test_the_whole_loss_and_the_memory_afterwards(memory, rows):
    head = ClusterMemoryHead(memory=dict(type="ClusterMemory", **memory))
    head.on_relabel(PseudoLabelState(epoch=0, labels=torch.arange(3), features=MEMORY))
    supports = support_samples(FEATURES, LABELS, head.memory.prototypes, SCALE)
    everything = torch.cat([FEATURES, supports]), LABELS.repeat(2)
    extended = F.cross_entropy(head.compare(everything[0]), everything[1]).item()
    preserved = LabelPreservingLoss()(FEATURES, LABELS, supports, LABELS).item()
    plain = F.cross_entropy(head.compare(FEATURES), LABELS).item()
    assert plain == pytest.approx(0.060886, abs=1e-5)
    assert extended == pytest.approx(0.365750, abs=1e-5)
    assert extended + 0.1 * preserved == pytest.approx(0.410043, abs=1e-5)
    head.memory.update(*everything, torch.arange(4).repeat(2))
    expected = torch.cat([torch.tensor(rows), MEMORY[2:]])
    torch.testing.assert_close(head.memory.prototypes, expected, atol=1e-5, rtol=0)
