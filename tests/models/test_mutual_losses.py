"""Label-smoothed and soft cross-entropy, hard and soft softmax-triplet: published numbers, slow loops."""

import math

import pytest
import torch
from mutual_example import F1, F2, G1, G2, LABELS, T1, T2, Z1, Z2

from mmreid_uda.models.losses import (
    cross_entropy,
    hardest_pairs,
    pairwise_distances,
    soft_cross_entropy,
    soft_softmax_triplet,
    softmax_triplet,
)
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError


def test_label_smoothed_cross_entropy_of_the_worked_examples():
    first = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    for pair, expected in ((first, 0.363262), ((Z1, LABELS), 0.473664), ((Z2, LABELS), 0.528914)):
        assert cross_entropy(*pair, label_smoothing=0.1).item() == pytest.approx(expected, abs=1e-5)


def test_soft_cross_entropy_of_the_worked_examples():
    assert soft_cross_entropy(Z1, T2).item() == pytest.approx(0.871885, abs=1e-5)
    assert soft_cross_entropy(Z2, T1).item() == pytest.approx(0.736035, abs=1e-5)


def test_softmax_triplets_of_the_worked_examples():
    distances = pairwise_distances(F1)
    assert distances[0].tolist()[1:] == pytest.approx([1, 2.236068, 4.242641], abs=1e-5)
    positives, negatives = hardest_pairs(distances, LABELS)
    assert positives.tolist() == [1, 0, 3, 2] and negatives.tolist() == [2, 2, 1, 1]
    assert softmax_triplet(F1, LABELS).item() == pytest.approx(0.543786, abs=1e-5)
    assert softmax_triplet(F2, LABELS).item() == pytest.approx(0.293134, abs=1e-5)
    assert soft_softmax_triplet(F1, G2, LABELS).item() == pytest.approx(0.597428, abs=1e-5)
    assert soft_softmax_triplet(F2, G1, LABELS).item() == pytest.approx(0.803335, abs=1e-5)


def test_of_several_branches_it_is_the_mean():
    z, t, f, u = (torch.stack(pair) for pair in ((Z1, Z2), (T2, T1), (F1, F2), (G2, G1)))
    hard = cross_entropy(z, LABELS, label_smoothing=0.1).item()
    assert hard == pytest.approx((0.473664 + 0.528914) / 2, abs=1e-5)
    assert soft_cross_entropy(z, t).item() == pytest.approx((0.871885 + 0.736035) / 2, abs=1e-5)
    assert softmax_triplet(f, LABELS).item() == pytest.approx((0.543786 + 0.293134) / 2, abs=1e-5)
    soft = soft_softmax_triplet(f, u, LABELS).item()
    assert soft == pytest.approx((0.597428 + 0.803335) / 2, abs=1e-5)


def slow_softmax(row):
    exponentials = [math.exp(value) for value in row]
    return [value / sum(exponentials) for value in exponentials]


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3])
def test_cross_entropies_equal_a_slow_loop(epsilon):
    generator = torch.Generator().manual_seed(1)
    logits, teacher = torch.randn(2, 9, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (9,), generator=generator)
    hard = soft = 0.0
    for z, t, y in zip(logits.tolist(), teacher.tolist(), labels.tolist()):
        logs = [math.log(p) for p in slow_softmax(z)]
        hard -= sum(((1 - epsilon) * (c == y) + epsilon / 5) * logs[c] for c in range(5)) / 9
        soft -= sum(p * log for p, log in zip(slow_softmax(t), logs)) / 9
    found = cross_entropy(logits, labels, label_smoothing=epsilon).item()
    assert found == pytest.approx(hard, abs=1e-5)
    assert soft_cross_entropy(logits, teacher).item() == pytest.approx(soft, abs=1e-5)


def slow_triplet(features, teacher, labels, margin):
    """Exponentials of distances, mined in a double loop; ``teacher=None`` is the hard loss."""
    total = 0.0
    for i, x in enumerate(features):
        d = [math.dist(x, other) for other in features]
        same = [j for j in range(len(d)) if labels[j] == labels[i]]
        p = max(same, key=lambda j: d[j])
        n = min((j for j in range(len(d)) if labels[j] != labels[i]), key=lambda j: d[j])
        own = math.exp(d[n]) / (math.exp(d[p]) + math.exp(d[n]))
        share = 1 - margin
        if teacher is not None:
            tp, tn = math.dist(teacher[i], teacher[p]), math.dist(teacher[i], teacher[n])
            share = math.exp(tn) / (math.exp(tp) + math.exp(tn))
        total -= share * math.log(own) + (1 - share) * math.log(1 - own)
    return total / len(features)


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_softmax_triplets_equal_a_slow_loop(margin):
    generator = torch.Generator().manual_seed(2)
    features, teacher = torch.randn(2, 10, 4, generator=generator)
    labels = torch.tensor([3, 3, 3, 1, 1, 0, 0, 0, 0, 7])  # uneven, one identity alone
    rows, teacher_rows = features.tolist(), teacher.tolist()
    assert softmax_triplet(features, labels, margin=margin).item() == pytest.approx(
        slow_triplet(rows, None, labels.tolist(), margin), abs=1e-5
    )
    assert soft_softmax_triplet(features, teacher, labels).item() == pytest.approx(
        slow_triplet(rows, teacher_rows, labels.tolist(), 0), abs=1e-5
    )


def losses_of(features, teacher, logits, teacher_logits, labels):
    return torch.stack(
        [
            cross_entropy(logits, labels, label_smoothing=0.1),
            soft_cross_entropy(logits, teacher_logits),
            softmax_triplet(features, labels),
            soft_softmax_triplet(features, teacher, labels),
        ]
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_inputs_far_apart_give_finite_losses_and_gradients(dtype):
    # Distances of a thousand: exp() of them overflows in every precision, and their squares overflow in float16.
    generator = torch.Generator().manual_seed(4)
    features, teacher = (30 * torch.randn(2, 8, 512, generator=generator)).to(dtype)
    logits, teacher_logits = (200 * torch.randn(2, 8, 6, generator=generator)).to(dtype)
    features, logits = features.requires_grad_(), logits.requires_grad_()
    labels = torch.arange(8) // 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses_of(features, teacher, logits, teacher_logits, labels)
    exact = losses_of(*(x.double() for x in (features, teacher, logits, teacher_logits)), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact.float(), rtol=1e-4, atol=1e-3)
    found.sum().backward()
    assert torch.isfinite(features.grad).all() and torch.isfinite(logits.grad).all()


def test_equal_features_have_a_finite_gradient():
    features = torch.ones(4, 3, requires_grad=True)
    softmax_triplet(features, LABELS).backward()
    assert torch.isfinite(features.grad).all()


def test_no_gradient_reaches_the_teacher():
    teacher, teacher_logits = G2.clone().requires_grad_(), T2.clone().requires_grad_()
    losses = losses_of(F1.clone().requires_grad_(), teacher, Z1.clone(), teacher_logits, LABELS)
    losses.sum().backward()
    assert teacher.grad is None and teacher_logits.grad is None


def test_a_batch_of_one_identity_is_refused():
    with pytest.raises(InputError, match="single identity among the 4 images"):
        softmax_triplet(F1, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("share", [-0.1, 1.0])
@pytest.mark.parametrize("kind", ["Supervised", "ClusterBaseline", "MMT", "ABMT", "StrongBaseline"])
def test_shares_out_of_range_are_refused(kind, share):
    with pytest.raises(
        InputError, match=r"label_smoothing=.* expected a number (of at least|from) 0"
    ):
        MODELS.build(dict(type=kind, encoder={}, head={}, label_smoothing=share))
